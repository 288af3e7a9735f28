"""Selections: scores, draw and weights in one call."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impsamp_fast.ops._arguments import number_and_tensor, power
from impsamp_fast.ops._call import operator
from impsamp_fast.ops._fakes import (
    check_count,
    check_features,
    check_rows,
    check_seed,
    check_share,
    fake_of,
    result_dtype,
    statistic,
)
from impsamp_fast.ops._status import status_error


class Selection(NamedTuple):
    """A mini-batch of rows, and what it was selected by; see :func:`select`."""

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    weight: Tensor
    score: Tensor
    loss: Tensor
    tau: Tensor
    status: Tensor


_select = operator("select", Selection)


def select(
    logits: Tensor,
    target: Tensor,
    n: int,
    score: str = "grad_norm",
    method: str = "multinomial",
    correction: str | float = "unbiased",
    features: Tensor | None = None,
    smoothing: float = 0.0,
    seed: int | Tensor | None = None,
    generator: torch.Generator | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    out: Selection | None = None,
    validate: bool = False,
) -> Selection:
    """Selects a mini-batch of n rows from a large batch of K: scores, draw and weights in one call.

    Args:
        logits: ``[..., C]`` with K rows, as in :func:`row_stats`.
        target: ``[...]`` or ``[..., C]``, as in :func:`row_stats`.
        n: how many rows to draw, as in :func:`draw`; with a method without replacement at most the
            rows with a positive score, to which ``smoothing`` adds all others.
        score: the kind of score, as in :func:`score`.
        method: as in :func:`draw`.
        correction: what ``weight`` is. ``"unbiased"``: 1 / (K prob) with replacement, n / (K prob)
            without, so that ``mean(weight * loss[index])`` is an unbiased estimate of
            ``mean(loss)``; ``"normalized"``: the same, rescaled to mean 1; ``"none"``: 1; a float
            k: the unbiased weights to the power k, rescaled to keep the sum of weight * score over
            the picked rows (the biased variant of Katharopoulos and Fleuret 2018). With ``"topk"``
            always 1: nothing can make it unbiased.
        features: ``[..., D]``, for the score ``"last_layer"``.
        smoothing: a in [0, 1]; rows are drawn by (1 - a) score + a mean(score), so that every row
            keeps a chance. Ignored rows have none and do not count in the mean.
        seed: as in :func:`draw`.
        generator: as in :func:`draw`.
        label_smoothing: as in :func:`row_stats`.
        class_weight: as in :func:`row_stats`.
        ignore_index: rows with this class index are never drawn; they count in K.
        out: where to put the results, as in :func:`row_stats`.
        validate: as in :func:`row_stats`.

    Returns:
        ``Selection`` of

        - ``index`` ``[n]`` int64: rows of ``logits.reshape(-1, C)``, in the order of the draw;
        - ``weight`` ``[n]``;
        - ``score`` and ``loss`` ``[...]`` of all rows;
        - ``tau`` ``[]``: sqrt(K sum g^2), with g what rows are drawn by, normalised to sum 1. It
          equals sqrt(K / effective sample size) (Katharopoulos and Fleuret 2018, section 3.3);
        - ``status`` ``[]`` int64: 0. On an accelerator, what went wrong: 1 + i if row i is the
          first with a bad logit, target, class weight or feature; -1 - m if n rows cannot be drawn
          without replacement since only m have a chance; -1 also if every row is ignored. Then
          ``weight`` is 0 and ``index`` is 0, 1, ... modulo K; but with a positive status all of
          ``index`` is the first row that is neither ignored nor bad, if there is one, so that a
          loss of the rows can be computed.

    Raises:
        IndexError: as in :func:`row_stats`.
        ValueError: as in :func:`score` and :func:`draw`.
        TypeError: as in :func:`row_stats`.
    """
    number, device_seed = number_and_tensor(seed)
    if isinstance(correction, str):
        rule, exponent = correction, None
    else:
        rule, exponent = "unbiased", power(correction)
    # fmt: off
    arguments = (
        logits, target, n, score, method, rule, exponent, features, smoothing,
        number, generator, device_seed, label_smoothing, class_weight, ignore_index,
    )
    # fmt: on
    selection = _select(arguments, out)
    if validate and not selection.status.is_cpu:
        raise_for_status(
            selection,
            logits,
            target,
            n,
            method,
            score=score,
            correction=correction,
            features=features,
            smoothing=smoothing,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            ignore_index=ignore_index,
        )
    return selection


def raise_for_status(
    selection: Selection,
    logits: Tensor,
    target: Tensor,
    n: int,
    method: str = "multinomial",
    **options: Any,
) -> None:
    """Waits for a selection and raises what went wrong with it, if anything did.

    Args:
        selection: what :func:`select` returned for the other arguments.
        logits: as they were passed to :func:`select`.
        target: so too.
        n: so too.
        method: so too.
        **options: whatever else was passed, but for ``seed``, ``generator``, ``out`` and
            ``validate``.

    Raises:
        IndexError: as :func:`select` on the CPU.
        ValueError: as :func:`select` on the CPU.
    """
    if status := int(selection.status):
        on_cpu: dict[str, Any] = {
            name: value.cpu() if isinstance(value, Tensor) else value
            for name, value in options.items()
        }
        select(logits.cpu(), target.cpu(), n, method=method, seed=0, **on_cpu)
        raise status_error(status, n, method)


@fake_of("select", Selection._fields)
def _fake(given: SimpleNamespace) -> tuple[Tensor, ...]:
    logits, n = given.logits, given.n
    rows = check_rows(given)
    check_count(n, rows, "logits")
    check_share("smoothing", given.smoothing)
    check_features(given, "score")
    check_seed(given, logits.device)
    dtype = result_dtype(logits)
    return (
        logits.new_empty(n, dtype=torch.int64),
        logits.new_empty(n, dtype=dtype),
        statistic(logits),
        statistic(logits),
        logits.new_empty((), dtype=dtype),
        logits.new_empty((), dtype=torch.int64),
    )
