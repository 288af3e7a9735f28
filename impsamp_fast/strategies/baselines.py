"""Uniform sampling: what every other strategy has to beat."""

import sys
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from impsamp_fast.batch._step_log import Observe
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.selector import Selector, SmallBatch
from impsamp_fast.batch.start import After
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.strategies.registry import register


@final
class EveryRow(Queue):
    """A queue that keeps every row and scores none."""

    @property
    def raw_size(self) -> int:
        """The rows that are missing; 0 while n wait."""
        return max(0, self.n - self.waiting)

    def _select(self, x: Any, y: Tensor, seed: int) -> Tensor:
        return torch.arange(y.shape[0], device=y.device)

    def _memory(self) -> dict[str, Any]:
        return {}

    def _check_memory(self, memory: Mapping[str, Any]) -> None:
        pass

    def _load_memory(self, memory: Mapping[str, Any]) -> None:
        pass


@register("uniform", level="batch", bibtex="")
def uniform(
    model: nn.Module,
    n: int,
    *,
    counts: PickCounts | None = None,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    seed: int | None = None,
    rank: int | None = None,
    target: str | Columns | None = None,
) -> EveryRow:
    r"""Ordinary training: every row of the raw batches, n at a time, in their order.

    The mean :math:`\frac{1}{n} \sum_i L_i` over them estimates the data's mean loss without bias.
    Nothing is scored and all weights are 1. Raw batches of n rows (``raw_size``) are passed through
    without a copy.

    Args:
        model: not called.
        n: rows per mini-batch.
        counts: counts the picks of each sample of the data set.
        label_smoothing: as in the loss that is trained; no selection depends on it.
        class_weight: likewise.
        ignore_index: likewise.
        seed: is part of the state; nothing is random.
        rank: likewise without effect.
        target: as in a :class:`~impsamp_fast.Queue`.
    """
    return EveryRow(
        model,
        n,
        start=After(sys.maxsize),
        counts=counts,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        ignore_index=ignore_index,
        seed=seed,
        rank=rank,
        target=target,
    )


@register("random-subset", level="batch", bibtex="")
def random_subset(
    model: nn.Module,
    n: int,
    *,
    small_batch: SmallBatch = "raise",
    counts: PickCounts | None = None,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    seed: int | None = None,
    rank: int | None = None,
    target: str | Columns | None = None,
    observe: Observe | None = None,
) -> Selector:
    r"""n of the K rows of each large batch, uniformly without replacement, weight 1.

    Each row is among them with the probability :math:`n / K`. Nothing is scored: a strategy that
    trains on n of K rows and does not beat this one gains nothing by its choice of rows.

    Args:
        model: not called.
        n: rows per mini-batch.
        small_batch: what to do with a large batch of fewer rows, see
            :class:`~impsamp_fast.Selector`.
        counts: counts the picks of each sample of the data set.
        label_smoothing: as in the loss that is trained; no selection depends on it.
        class_weight: likewise.
        ignore_index: likewise.
        seed: of the draws.
        rank: as in a :class:`~impsamp_fast.Selector`.
        target: likewise.
        observe: likewise.
    """
    return Selector(
        model,
        n,
        start=After(sys.maxsize),
        small_batch=small_batch,
        counts=counts,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        ignore_index=ignore_index,
        seed=seed,
        rank=rank,
        target=target,
        observe=observe,
    )
