"""Mini-batches of the rows whose losses are high among the latest."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from impsamp_fast._checks import check_integer, check_number, kind_of
from impsamp_fast.batch.draw_rules import keep_each
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.start import StartRule
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import score


@final
class SelectiveBackprop(Queue):
    r"""Keeps a row with a probability that grows with the rank of its loss.

    Jiang et al. (2019): a row of loss L is kept with probability :math:`F(L)^\beta`, independently
    of the others, where F(L) is the share of the last ``history`` losses below L, those of the
    row's own raw batch among them; kept rows queue until there are n. Losses that are all equal are
    below none of each other, so no row is kept; a model whose first outputs are all equal needs a
    ``start``. A row whose class index is ``ignore_index`` has no loss to remember and is never
    kept.

    In the paper all rows of the first epoch are kept: ``start=After(raw batches per epoch)``.

    Args:
        model: called as by a :class:`~impsamp_fast.Selector`.
        n: rows per mini-batch, at least 1.
        beta: the selectivity, at least 0, where 0 keeps all rows that have a target.
        history: how many losses F is taken from, at least 1.
        start: see :class:`~impsamp_fast.Queue`, as all that follow.
        dropout: likewise.
        counts: likewise.
        label_smoothing: likewise.
        class_weight: likewise.
        ignore_index: likewise.
        seed: likewise.

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
        dropout: bool = False,
        counts: PickCounts | None = None,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int = -100,
        seed: int | None = None,
    ) -> None:
        beta = check_number("beta", beta, 0)
        history = check_integer("history", history, 1)
        super().__init__(
            model,
            n,
            start=start,
            dropout=dropout,
            counts=counts,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            ignore_index=ignore_index,
            seed=seed,
        )
        self.beta = beta
        self.history = history
        self._losses = torch.empty(0, dtype=torch.float32, device="cpu")

    @property
    def raw_size(self) -> int:
        """n, the paper's raw batches; 0 while n rows wait."""
        return 0 if self.waiting >= self.n else int(self.n)

    def _keep(self, x: Any, y: Tensor, seed: int) -> Tensor:
        losses = score(self._logits(x, y), y, "loss", **self._loss_options()).to(torch.float32)
        counted = torch.ones_like(losses, dtype=torch.bool)
        if y.dim() == 1:
            counted = y != self.ignore_index
        last = torch.cat([self._losses.to(losses.device), losses[counted]])[-int(self.history) :]
        below = torch.searchsorted(last.sort().values, losses)
        prob = (below / max(1, last.numel())) ** self.beta * counted
        kept = keep_each(prob, seed).nonzero().squeeze(1)
        self._losses = last
        return kept

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
