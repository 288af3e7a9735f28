"""Mini-batches of the rows that pass a filter."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from impsamp_fast._checks import check_integer
from impsamp_fast._faults import OnFault
from impsamp_fast._uniform import fill
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.filters import Filter, rows_that_pass
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.scoring_pass import ScoringPass
from impsamp_fast.batch.start import StartRule
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import row_stats

# The share of rows that pass, which sizes the raw batches, is that of this many of them.
_RECENT = 16


@final
class Accumulator(Queue):
    """Collects the rows that pass a filter until they are a mini-batch.

    The batchwise filter of Smedås (2021), which passes raw batches until the mini-batch is full;
    surplus rows, which the thesis drops, are kept for the next one. ``raw_size`` says how large a
    raw batch should be to bring the missing rows, by the share of rows that have passed lately; it
    is 0 while a whole mini-batch waits, so ask for that first::

        accumulator = Accumulator(model, 128, AccuracyFilter())
        while training:
            batch = accumulator.pop()
            if batch is None:
                batch = accumulator(*next_rows(accumulator.raw_size))
            if batch is not None:
                loss = batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))

    Args:
        model: called as by a :class:`~impsamp_fast.Selector`.
        n: rows per mini-batch, at least 1.
        filter: which rows to keep. A row whose class index is ``ignore_index`` is never kept.
        patience: how many raw batches to wait for n rows, at least 1. With the last of these, what
            is missing is filled with random rows of it that did not pass.
        largest_raw_size: the bound of ``raw_size``, at least 1; None is 8 n.
        start: see :class:`~impsamp_fast.Queue`, as all that follow.
        scoring: likewise.
        dropout: likewise.
        on_fault: likewise.
        counts: likewise.
        label_smoothing: likewise; it changes the ``loss`` and ``grad_norm`` that a filter sees.
        class_weight: likewise.
        ignore_index: likewise.
        seed: likewise.
        rank: likewise.
        target: likewise.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        model: nn.Module,
        n: int,
        filter: Filter,
        *,
        patience: int = 16,
        largest_raw_size: int | None = None,
        start: StartRule | None = None,
        scoring: ScoringPass | None = None,
        dropout: bool = False,
        on_fault: OnFault = "raise",
        counts: PickCounts | None = None,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
        seed: int | None = None,
        rank: int | None = None,
        target: str | Columns | None = None,
    ) -> None:
        if not isinstance(filter, Filter):
            raise TypeError(f"filter is {filter!r}, expected a filter such as AccuracyFilter()")
        patience = check_integer("patience", patience, 1)
        if largest_raw_size is not None:
            largest_raw_size = check_integer("largest_raw_size", largest_raw_size, 1)
        super().__init__(
            model,
            n,
            start=start,
            scoring=scoring,
            dropout=dropout,
            on_fault=on_fault,
            counts=counts,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            ignore_index=ignore_index,
            seed=seed,
            rank=rank,
            target=target,
        )
        self.filter = filter
        self.patience = patience
        self.largest_raw_size = largest_raw_size
        self._recent: deque[tuple[int, int]] = deque(maxlen=_RECENT)  # rows that passed, and all

    @property
    def raw_size(self) -> int:
        """The missing rows divided by the share that passed lately; 0 while n rows wait."""
        passed = sum(passed for passed, _ in self._recent)
        seen = sum(seen for _, seen in self._recent)
        missing = max(0, self.n - self.waiting)
        wanted = missing if seen == 0 else math.ceil(missing * seen / max(passed, 1))
        return min(wanted, 8 * self.n if self.largest_raw_size is None else self.largest_raw_size)

    def _select(self, x: Any, y: Tensor, seed: int) -> Tensor:
        rows = self._examined(row_stats, x, y)
        passing, others = rows_that_pass(self.filter, rows.statistics, y, rows.left_out)
        if passing.numel() or others.numel():  # else nothing is known of the share that passes
            self._recent.append((passing.numel(), y.shape[0]))
        if self._unfilled + 1 < self.patience:
            return passing
        return fill(passing, others, int(self.n) - self.waiting, seed)

    def _memory(self) -> dict[str, Any]:
        return {"recent": [list(counts) for counts in self._recent]}

    def _check_memory(self, memory: Mapping[str, Any]) -> None:
        if any(len(counts) != 2 for counts in memory["recent"]):
            raise ValueError(f"the state's recent is {memory['recent']}, expected pairs of rows")

    def _load_memory(self, memory: Mapping[str, Any]) -> None:
        self._recent = deque(((passed, seen) for passed, seen in memory["recent"]), maxlen=_RECENT)
