"""Probabilities that are kept from falling too low."""

import torch
from torch import Tensor


def projected(weight: Tensor, floor: float, scale: float = 1.0) -> Tensor:
    """max(floor, c weight) with the c that makes its mean 1.

    Args:
        weight: [N], not negative, not all zero.
        floor: less than 1.
        scale: a guess of c, positive.
    """
    size = len(weight)

    def rescaled(below: Tensor) -> float:
        rest: float = torch.where(below, 0, weight).sum().item()
        return (size - floor * int(below.count_nonzero())) / rest

    # Newton's method on the sum, which is convex in c, and linear between the points where a weight
    # reaches the floor. From any guess its first step goes beyond the solution, unless the guess
    # holds all weights at the floor; from there c falls, and more and more weights are held.
    below = weight < floor / scale
    scale = size / weight.sum().item() if below.all() else rescaled(below)
    below = weight < floor / scale
    while True:
        scale = rescaled(below)
        more = below | (weight < floor / scale)
        if more.count_nonzero() == below.count_nonzero():
            return (weight * scale).clamp_(min=floor)
        below = more
