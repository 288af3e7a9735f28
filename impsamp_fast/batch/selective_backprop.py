"""Mini-batches of the rows whose losses are high among the latest."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from impsamp_fast._checks import check_integer, check_number, kind_of
from impsamp_fast._faults import OnFault
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.draw_rules import keep_each
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.scoring_pass import ScoringPass
from impsamp_fast.batch.start import StartRule
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import score


@final
class SelectiveBackprop(Queue):
    r"""Selects a row with a probability that grows with the rank of its loss.

    Jiang et al. (2019): a row of loss L is selected with probability :math:`F(L)^\beta`,
    independently of the others, where F(L) is the percentile rank of L among the last ``history``
    losses, those of the row's own raw batch included. Selected rows queue until there are n. As in
    ``scipy.stats.percentileofscore(kind="rank")``, equal losses share the mean of their ranks: h
    losses that are all equal have F = (h + 1) / (2 h). A row whose class index is ``ignore_index``
    has no loss to remember and is never selected.

    In the paper all rows of the first epoch are kept: ``start=After(raw batches per epoch)``.

    Args:
        model: called as by a :class:`~impsamp_fast.Selector`.
        n: rows per mini-batch, at least 1.
        beta: the selectivity, at least 0, where 0 selects all rows that have a target.
        history: how many losses F is taken from, at least 1.
        start: see :class:`~impsamp_fast.Queue`, as all that follow.
        scoring: likewise.
        dropout: likewise.
        on_fault: likewise.
        counts: likewise.
        label_smoothing: likewise.
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
        *,
        beta: float = 1.0,
        history: int = 1024,
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
        beta = check_number("beta", beta, 0)
        history = check_integer("history", history, 1)
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
        self.beta = beta
        self.history = history
        self._losses = torch.empty(0, dtype=torch.float32, device="cpu")

    @property
    def raw_size(self) -> int:
        """n, the paper's raw batches; 0 while n rows wait."""
        return 0 if self.waiting >= self.n else int(self.n)

    def _select(self, x: Any, y: Tensor, seed: int) -> Tensor:
        rows = self._examined(_losses, x, y)
        losses = rows.statistics.to(torch.float32)
        counted = torch.ones_like(losses, dtype=torch.bool)
        if rows.left_out is not None:
            counted = ~rows.left_out
        last = torch.cat([self._losses.to(losses.device), losses[counted]])[-self.history :]
        prob = percentile_rank(last, losses) ** self.beta * counted
        selected = keep_each(prob, seed).nonzero().squeeze(1)
        self._losses = last
        return selected

    def _memory(self) -> dict[str, Any]:
        return {"losses": self._losses.clone()}

    def _check_memory(self, memory: Mapping[str, Any]) -> None:
        losses = memory["losses"]
        if not isinstance(losses, Tensor) or losses.dtype != torch.float32:
            raise TypeError(
                f"the state's losses are {kind_of(losses)}, expected a tensor of torch.float32"
            )
        if losses.dim() != 1 or losses.numel() > self.history:
            raise ValueError(
                f"the state has losses of shape {list(losses.shape)}, expected at most "
                f"{self.history}: make the queue with the history of the one that was saved"
            )

    def _load_memory(self, memory: Mapping[str, Any]) -> None:
        self._losses = memory["losses"].clone()


def _losses(logits: Tensor, y: Tensor, **options: Any) -> Tensor:
    return score(logits, y, "loss", **options)


def percentile_rank(history: Tensor, losses: Tensor) -> Tensor:
    """The rank of each loss in the history by its length; ties share the mean of their ranks."""
    ascending = history.sort().values
    below = torch.searchsorted(ascending, losses)
    not_above = torch.searchsorted(ascending, losses, right=True)
    ranks = below + not_above + (below < not_above)
    return ranks / (2 * max(1, history.numel()))
