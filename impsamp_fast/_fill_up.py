"""Draws without replacement where fewer rows have a score than are to be drawn."""

import torch
from torch import Tensor

from impsamp_fast.ops import Draw, draw


def fill_up(weights: Tensor, ignored: Tensor | None, n: int, seed: int | Tensor) -> Draw:
    """All rows that have a weight, and uniform others that have a target.

    Where even those with a target are fewer than n, all of them and uniform others. ``prob`` is
    exact: 1 for the rows that are certain, and the same for all others.

    Args:
        weights: [K], not negative.
        ignored: [K] bool, the rows that have no target, whose weight is 0; None if there are none.
        n: at most K, and more than have a weight.
        seed: as in :func:`~impsamp_fast.draw`.
    """
    targets = weights.numel() if ignored is None else (~ignored).sum()
    sizes = sizes_to_fill_up(weights, ignored, weights.numel(), targets < n)
    return draw(sizes, n, "pps", seed)


def sizes_to_fill_up(
    weights: Tensor, ignored: Tensor | None, rows: int, few_targets: bool | Tensor
) -> Tensor:
    """What "pps" fills up by, [k].

    Args:
        weights: [k], of all rows or some of them.
        ignored: likewise.
        rows: how many there are in all.
        few_targets: whether fewer rows have a target than are to be drawn.
    """
    has_target = torch.ones_like(weights, dtype=torch.bool) if ignored is None else ~ignored
    few = torch.as_tensor(few_targets, device=weights.device)
    certain = torch.where(few, has_target, weights > 0)
    possible = torch.where(few, True, has_target)
    # In proportion to size, a row of 2 K beside others of 1 is certain to be drawn.
    size = torch.where(certain, 2.0 * rows, possible.to(weights.dtype))
    return size.to(weights.dtype)
