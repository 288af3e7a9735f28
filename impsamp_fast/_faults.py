"""Rows that cannot be scored: what is to become of them, and their marks.

A row is faulty if it has a logit that is NaN or +inf, or -inf in every class, a target that cannot
be, or a feature or a score that is not finite. The operators of an accelerator mark it with NaN,
the CPU's raise.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import Tensor

from impsamp_fast.ops import RowStats

OnFault = Literal["raise", "skip"]

Statistics = TypeVar("Statistics", Tensor, RowStats)


def marked(operator: Callable[..., Statistics], *rows: Tensor | None) -> Statistics:
    """What an operator makes of rows, with NaN for the faulty ones on the CPU as well.

    Args:
        operator: called with ``rows``.
        rows: [K, ...] each.
    """
    try:
        return operator(*rows)
    except (ValueError, IndexError):
        # What is wrong without a row is no row's fault.
        nothing = operator(*_part(rows, slice(0, 0)))
        return _by_halves(operator, rows, nothing)


def _by_halves(
    operator: Callable[..., Statistics], rows: tuple[Tensor | None, ...], nothing: Statistics
) -> Statistics:
    """The same of rows of which at least one is faulty; the operator itself says which."""
    K = next(part.shape[0] for part in rows if part is not None)
    if K == 1:
        return _each(lambda value: value.new_full((1,), torch.nan), nothing)
    halves = []
    for half in (_part(rows, slice(0, K // 2)), _part(rows, slice(K // 2, K))):
        try:
            halves.append(operator(*half))
        except (ValueError, IndexError):  # noqa: PERF203 -- two halves
            halves.append(_by_halves(operator, half, nothing))
    return _each(lambda *values: torch.cat(values), *halves)


def _part(rows: tuple[Tensor | None, ...], part: slice) -> tuple[Tensor | None, ...]:
    return tuple(None if value is None else value[part] for value in rows)


def _each(change: Callable[..., Tensor], *values: Statistics) -> Statistics:
    """The change of a tensor, or of each statistic."""
    if isinstance(values[0], Tensor):
        return change(*values)
    return RowStats(*map(change, *values))
