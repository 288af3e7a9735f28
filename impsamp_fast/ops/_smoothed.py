"""From scores to what rows are drawn by."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from impsamp_fast._extension import _C
from impsamp_fast.ops._arguments import explain
from impsamp_fast.ops._status import raise_if_nan


class Smoothed(NamedTuple):
    """What rows are drawn by: ``weights`` [K], and their ``tau`` []."""

    weights: Tensor
    tau: Tensor


def smoothed(
    scores: Tensor,
    smoothing: float = 0.0,
    ignored: Tensor | None = None,
    *,
    validate: bool = False,
) -> Smoothed:
    """What :func:`select` draws rows by, from scores of your own.

    (1 - a) s + a mean(s) of the scores s, with a = ``smoothing`` and the mean over the rows that
    are not ignored; 0 for those that are; equal for the others where all of their scores are 0.

    Args:
        scores: ``[K]``, floating point, finite and not negative.
        smoothing: a in [0, 1].
        ignored: ``[K]`` bool: rows that are never drawn, whatever their score; None ignores none.
        validate: on an accelerator, wait for it and raise what is wrong with the values.

    Returns:
        ``Smoothed(weights, tau)``, float64 for float64 scores and float32 for all others: weights
        ``[K]``, for :func:`draw`; tau ``[]`` as :func:`select` has it. On an accelerator both are
        NaN throughout where a score is negative or not finite, or every row is ignored.

    Raises:
        ValueError: a shape, device or value does not fit.
        TypeError: a dtype or the kind of an argument does not fit.
    """
    operators = torch.ops.impsamp_fast if is_compiling() else _C
    try:
        found = Smoothed(*operators.smoothed(scores, smoothing, ignored))
    except TypeError as error:
        explain(error, locals())
    if validate:
        raise_if_nan(found.tau, _C.smoothed, (scores, smoothing, ignored))
    return found


def _fake(
    scores: Tensor, smoothing: float = 0.0, ignored: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if scores.dtype == torch.float64 else torch.float32
    torch._check(  # type: ignore[no-untyped-call]
        scores.dim() == 1, lambda: f"scores has shape {scores.shape}, but must be [K]"
    )
    if ignored is not None:
        torch._check(  # type: ignore[no-untyped-call]
            ignored.shape == scores.shape,
            lambda: f"ignored has shape {ignored.shape}, but scores has {scores.shape}",
        )
    return scores.new_empty(scores.shape, dtype=dtype), scores.new_empty((), dtype=dtype)


torch.library.register_fake("impsamp_fast::smoothed", _fake)
