"""The exponentially decaying preference of Loshchilov and Hutter (2015)."""

import math

import torch
from torch import Tensor


def selection_pressure(epoch: int, first: int, epochs: int, start: float) -> float:
    """The pressure s_e in an epoch: ``start`` in epoch ``first``, 1 in the last of ``epochs``.

    It falls exponentially, s_e = s_0 exp(ln(1 / s_0) / (e_end - e_0))^(e - e_0), and stays 1 after.
    If ``first`` is the last epoch, it has ``start``.
    """
    steps = epochs - 1 - first
    if epoch <= first:
        return start
    return 1.0 if epoch >= epochs - 1 else math.exp(math.log(start) * (1 - (epoch - first) / steps))


def weights_by_rank(rank: Tensor, pressure: float) -> Tensor:
    """exp(-rank ln(pressure) / N), [N] float64, for ranks [N] of any dtype."""
    return (rank.to(torch.float64) * (-math.log(pressure) / len(rank))).exp_()


def ranks(values: Tensor) -> Tensor:
    """The ranks of values [N] float32 without NaN, 1 for the largest, [N] float64.

    Equal values share the mean of their ranks, so that a sample's number gives it no advantage.
    """
    # Sorting integers takes a quarter of the time of sorting floats. The bits of floats are in
    # their order once those of negative numbers are flipped; adding 0 turns -0 into 0.
    bits = (values + 0.0).view(torch.int32)
    descending = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    ordered, order = descending.sort(stable=True)
    _, count = torch.unique_consecutive(ordered, return_counts=True)
    shared = (count.cumsum(0) - (count - 1) / 2).to(torch.float64).repeat_interleave(count)
    return torch.empty_like(shared).index_copy_(0, order, shared)
