"""Filters: which rows of a large batch may be drawn by importance."""

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from impsamp_fast._checks import check_number
from impsamp_fast._settings import ShowsSettings
from impsamp_fast.ops import RowStats


class Filter(ShowsSettings, ABC):
    """Decides for each row whether it may be drawn.

    A filter of your own derives from this class and implements ``__call__``.
    """

    @abstractmethod
    def __call__(self, stats: RowStats, y: Tensor) -> Tensor:
        """Which rows pass, [K] bool.

        Args:
            stats: five statistics of the rows, [K] each, see :func:`~impsamp_fast.row_stats`.
            y: [K] class indices, or [K, C] class probabilities. A row whose class index is
                ``ignore_index`` has statistics 0 and never passes, whatever comes back for it.
        """


@final
class AccuracyFilter(Filter):
    """Lets pass what the model classifies wrongly, or hardly correctly.

    The accuracy filters of Smedås (2021), with the margin p_y - max_{j != y} p_j:

    - hard (``alpha`` 0): the misclassified rows, margin <= 0; a tie of the two highest
      probabilities counts as misclassified;
    - soft (``alpha`` > 0): also the correctly classified rows whose two highest probabilities
      differ by at most alpha, which together are the rows with margin <= alpha.

    Class probabilities count as their most probable class.

    Args:
        alpha: the largest margin that passes, in [0, 1].

    Raises:
        TypeError: if ``alpha`` is not a number.
        ValueError: if it is not in [0, 1].
    """

    def __init__(self, alpha: float = 0.0) -> None:
        self.alpha = check_number("alpha", alpha, 0, 1, open_high=False)

    def __call__(self, stats: RowStats, y: Tensor) -> Tensor:
        """Which rows have a margin of at most alpha, [K] bool."""
        return stats.margin <= self.alpha


def rows_that_pass(
    filter: Filter, stats: RowStats, y: Tensor, left_out: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The rows that pass and those that do not, int64; those that are left out are in neither.

    On an accelerator the host waits for their numbers.

    Raises:
        TypeError, ValueError: if the filter does not return [K] bool.
    """
    mask = filter(stats, y)
    _check_mask(filter, mask, y.shape[0])
    others = ~mask
    if left_out is not None:
        mask, others = mask & ~left_out, others & ~left_out
    return mask.nonzero().squeeze(1), others.nonzero().squeeze(1)


def _check_mask(filter: Filter, mask: object, K: int) -> None:
    name = type(filter).__name__
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name} returned {type(mask).__name__}, expected a tensor of bool")
    if mask.dtype != torch.bool:
        raise TypeError(f"{name} returned a tensor of {mask.dtype}, expected torch.bool")
    if mask.shape != (K,):
        raise ValueError(f"{name} returned shape {list(mask.shape)}, expected [{K}]")
