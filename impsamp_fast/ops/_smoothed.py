"""From scores to what rows are drawn by."""

from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from impsamp_fast.ops._call import operator
from impsamp_fast.ops._fakes import (
    check_like,
    check_numbers,
    check_share,
    check_that,
    check_type,
    fake_of,
    result_dtype,
)
from impsamp_fast.ops._status import raise_if_nan


class Smoothed(NamedTuple):
    """What rows are drawn by: ``weights`` [K], and their ``tau`` []."""

    weights: Tensor
    tau: Tensor


_smoothed = operator("smoothed", Smoothed)


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
    arguments = (scores, smoothing, ignored)
    found = _smoothed(arguments, None)
    if validate:
        raise_if_nan("smoothed", found.tau, arguments)
    return found


@fake_of("smoothed", Smoothed._fields)
def _fake(given: SimpleNamespace) -> tuple[Tensor, ...]:
    scores, ignored = given.scores, given.ignored
    check_numbers("scores", scores, "[K]")
    if ignored is not None:
        check_type(
            ignored.dtype == torch.bool,
            lambda: f"ignored has dtype {ignored.dtype}, but must be bool",
        )
        check_like("ignored", ignored, "scores", scores)
    check_that(scores.shape[0] >= 1, lambda: "scores has no rows to draw from")
    check_share("smoothing", given.smoothing)
    dtype = result_dtype(scores)
    return scores.new_empty(scores.shape, dtype=dtype), scores.new_empty((), dtype=dtype)
