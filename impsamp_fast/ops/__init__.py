"""The functional API: row statistics, scores, draws, and all of it in one call.

Eager calls go straight to the compiled operators; under ``torch.compile`` the same operators run as
``torch.ops.impsamp_fast``. Nothing here is differentiated: results never require grad.

On the CPU what is wrong raises. An accelerator would have to be waited for, so there only what the
host can see raises, and wrong values are marked: a row with a bad logit, target, class weight or
feature has NaN in every statistic; a draw that cannot be made has ``prob`` NaN; a selection says it
in its ``status``. With ``validate=True`` the call waits for the device and raises the CPU's error.
"""

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_compiling

from impsamp_fast._extension import _C
from impsamp_fast.ops import _fakes, _vmap  # noqa: F401 (registers them)
from impsamp_fast.ops._arguments import (
    checked_out,
    checked_size,
    checked_tensor,
    explain,
    seeds,
    signed,
)
from impsamp_fast.ops._corrected import Kind, corrected
from impsamp_fast.ops._smoothed import Smoothed, smoothed
from impsamp_fast.ops._status import raise_if_nan, status_error

__all__ = [
    "Draw",
    "Kind",
    "RowStats",
    "Selection",
    "Smoothed",
    "corrected",
    "draw",
    "raise_for_status",
    "row_stats",
    "score",
    "select",
    "smoothed",
]


class RowStats(NamedTuple):
    """What a sample is worth, by several measures; each of the rows' shape."""

    loss: Tensor
    grad_norm: Tensor
    p_true: Tensor
    margin: Tensor
    entropy: Tensor


class Draw(NamedTuple):
    """Drawn rows: ``index`` [n] int64 and ``prob`` [n]."""

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    prob: Tensor


class Selection(NamedTuple):
    """A mini-batch of rows, and what it was selected by; see :func:`select`."""

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    weight: Tensor
    score: Tensor
    loss: Tensor
    tau: Tensor
    status: Tensor


def row_stats(
    logits: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    out: RowStats | None = None,
    validate: bool = False,
) -> RowStats:
    """The statistics of each row of logits, in one pass.

    With p = softmax(logits), t the target with label smoothing and class weights applied as
    ``torch.nn.functional.cross_entropy`` does, and T = sum t:

    - ``loss`` = -sum t log p;
    - ``grad_norm`` = ``|T p - t|``, the norm of the loss's gradient with respect to the logits:
      up to a constant the upper bound of Katharopoulos and Fleuret (2018, section 3.2) on the
      gradient norm, exactly the norm of the output bias's gradient, and the EL2N score of Paul et
      al. (2021);
    - ``p_true`` = p_y, for class probabilities sum t p (t as given);
    - ``margin`` = p_y - max_{j != y} p_j, for class probabilities with y the most probable class;
    - ``entropy`` = -sum p log p, in nats.

    In float32 the relative errors of ``loss``, ``grad_norm`` and ``p_true`` stay below 2e-6
    wherever they are normal numbers, also for rows so confident that ``cross_entropy`` returns 0.
    With label smoothing or class probabilities ``grad_norm`` vanishes as p comes close to t / T:
    its error there is at most 2e-6 of itself plus 2**-42 of ``T |p - onehot(y)|``; in float64,
    2e-14 of that. The relative error of ``entropy`` stays below 2e-6 where the target is the most
    probable class; elsewhere, and for ``margin``, the absolute error does.

    Args:
        logits: ``[..., C]``, float32, float64, float16 or bfloat16, any strides. -inf masks
            a class.
        target: class indices ``[...]`` (int64, int32, int16, int8 or uint8) or class
            probabilities ``[..., C]`` (floating point), each row of which sums to 1: within
            2**-12 for float64 and float32, 2**-8 + C 2**-24 for float16, 2**-5 for bfloat16.
        label_smoothing: in [0, 1].
        class_weight: ``[C]``, floating point, finite and not negative. It scales ``loss`` and
            ``grad_norm``.
        ignore_index: rows with this class index have all statistics 0. With None no row is
            ignored.
        out: where to put the results: contiguous, each with a result's shape, dtype and device
            and in memory of its own. It is what is returned.
        validate: on an accelerator, wait for it and raise what is wrong with the values, instead
            of marking it with NaN.

    Returns:
        Five tensors ``[...]``, float64 for float64 logits and float32 for all others.

    Raises:
        IndexError: a class index is out of range.
        ValueError: a shape, device or value does not fit; a logit is NaN or +inf; a row is -inf
            throughout; class probabilities do not sum to 1.
        TypeError: a dtype or the kind of an argument does not fit.
        RuntimeError: ``torch.func`` is to differentiate the result.
    """
    try:
        if out is None:
            found = _operators().row_stats(
                logits, target, label_smoothing, class_weight, ignore_index
            )
            stats = RowStats(*found)
        else:
            arguments = (logits, target, label_smoothing, class_weight, ignore_index)
            stats = _fill("row_stats", arguments, checked_out(out, RowStats))
    except TypeError as error:
        explain(error, locals())
    if validate:
        arguments = (logits, target, label_smoothing, class_weight, ignore_index)
        raise_if_nan(stats.loss, _C.row_stats, arguments)
    return stats


def score(
    logits: Tensor,
    target: Tensor,
    kind: str = "grad_norm",
    features: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    out: Tensor | None = None,
    validate: bool = False,
) -> Tensor:
    """One number for each row that says how much it is worth; only what ``kind`` needs is computed.

    Args:
        logits: ``[..., C]``, as in :func:`row_stats`.
        target: ``[...]`` or ``[..., C]``, as in :func:`row_stats`.
        kind: ``"loss"``; ``"grad_norm"``; ``"last_layer"``, the norm of the gradient of a last
            linear layer's weight and bias, ``grad_norm * sqrt(1 + |h|^2)`` for its input h;
            ``"p_wrong"`` = 1 - p_true; ``"margin"`` = 1 - margin, so that a small margin scores
            high; ``"entropy"``.
        features: ``[..., D]``, floating point: the input h of the last linear layer, for
            ``"last_layer"`` and nothing else.
        label_smoothing: as in :func:`row_stats`.
        class_weight: as in :func:`row_stats`.
        ignore_index: rows with this class index have score 0, whatever the kind.
        out: where to put the result, as in :func:`row_stats`.
        validate: as in :func:`row_stats`.

    Returns:
        ``[...]``, not negative, float64 for float64 logits and float32 for all others.

    Raises:
        IndexError: as in :func:`row_stats`.
        ValueError: as in :func:`row_stats`; an unknown kind; features missing or not asked for.
        TypeError: as in :func:`row_stats`.
    """
    try:
        if out is None:
            found: Tensor = _operators().score(
                logits, target, kind, features, label_smoothing, class_weight, ignore_index
            )
        else:
            arguments = (logits, target, kind, features, label_smoothing, class_weight)
            (found,) = _fill("score", (*arguments, ignore_index), (checked_out(out, Tensor),))
    except TypeError as error:
        explain(error, locals())
    if validate:
        arguments = (logits, target, kind, features, label_smoothing, class_weight)
        raise_if_nan(found, _C.score, (*arguments, ignore_index))
    return found


def draw(
    weights: Tensor,
    n: int,
    method: str = "multinomial",
    seed: int | Tensor | None = None,
    generator: torch.Generator | None = None,
    *,
    out: Draw | None = None,
    validate: bool = False,
) -> Draw:
    """Draws n rows with probabilities proportional to weights, exactly.

    Weights become 64-bit integers, so there is no limit of 2^24 rows, a positive weight always
    keeps a chance and a zero weight is never drawn. If all weights are zero, rows are drawn
    uniformly.

    Methods with replacement; ``prob`` is the row's probability in one draw:

    - ``"multinomial"``: n independent draws by the inverse of the cumulative distribution;
    - ``"stratified"``: one draw in each of n equal parts of the distribution: never a larger
      variance than multinomial;
    - ``"systematic"``: one random offset, equal steps: every row's count is within one of n * prob.

    Methods without replacement; ``prob`` is the row's probability to be among the n:

    - ``"race"``: the first n arrivals of independent exponential clocks (Efraimidis and Spirakis
      2006), in order of arrival; ``prob`` is conditional, given the (n+1)-th arrival, whose time
      varies: where scores are close to the losses, its estimates vary more than the others';
    - ``"pps"``: inclusion probability exactly proportional to size, capped at 1 (systematic; Madow
      1949), in ascending order;
    - ``"topk"``: the n largest, ties to the lower row; deterministic, ``prob`` is 1.

    Args:
        weights: ``[K]``, floating point, finite and not negative.
        n: how many rows to draw, at least 1; without replacement at most the number of positive
            weights.
        method: one of the above.
        seed: an integer of 64 bits. The same seed and weights give the same rows on every device,
            with any number of threads, eager or compiled. The i-th draw uses the i-th random
            number. Or an int64 scalar tensor on the weights' device, which is read there: a CUDA
            graph draws anew when it has changed.
        generator: without a seed, the ``torch.Generator`` of the weights' device that decides;
            torch's default otherwise. ``torch.compile`` cannot trace a generator: pass a seed
            there.
        out: where to put the results, as in :func:`row_stats`.
        validate: as in :func:`row_stats`.

    Returns:
        ``Draw(index, prob)``: index ``[n]`` int64; prob ``[n]``, float64 for float64 weights and
        float32 for all others.

    Raises:
        ValueError: a weight is negative or not finite, n or the method does not fit, or both seed
            and generator are given.
        TypeError: a dtype or the kind of an argument does not fit.
    """
    try:
        number = seed if seed is None else signed(seed)
        if out is None and not isinstance(number, Tensor):
            drawn = Draw(*_operators().draw(weights, n, method, number, generator))
        else:
            arguments = (weights, n, method, *seeds(number, generator))
            into = _new_draw(weights, n) if out is None else checked_out(out, Draw)
            drawn = _fill("draw", arguments, into)
    except TypeError as error:
        explain(error, locals())
    if validate:
        raise_if_nan(drawn.prob, _C.draw, (weights, n, method, 0, None))
    return drawn


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
    exponent: float | None = None
    if isinstance(correction, (float, int)):
        rule, exponent = "unbiased", correction
    else:
        rule = correction
    try:
        number = seed if seed is None else signed(seed)
        if out is None and not isinstance(number, Tensor):
            found = _operators().select(
                logits,
                target,
                n,
                score,
                method,
                rule,
                exponent,
                features,
                smoothing,
                number,
                generator,
                label_smoothing,
                class_weight,
                ignore_index,
            )
            selection = Selection(*found)
        else:
            number, generator, device_seed = seeds(number, generator)
            arguments = (
                *(logits, target, n, score, method, rule, exponent, features, smoothing),
                *(number, generator, label_smoothing, class_weight, ignore_index, device_seed),
            )
            into = _new_selection(logits, n) if out is None else checked_out(out, Selection)
            selection = _fill("select", arguments, into)
    except TypeError as error:
        explain(error, locals())
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


def _operators() -> Any:
    """The compiled operators: by pybind11, which costs least, or where torch.compile sees them."""
    return torch.ops.impsamp_fast if is_compiling() else _C


_Out = TypeVar("_Out", bound=tuple[Tensor, ...])


def _fill(name: str, arguments: tuple[Any, ...], out: _Out) -> _Out:
    """Runs an operator that writes its results to ``out``, and returns that."""
    fields = getattr(out, "_fields", (name,))
    if is_compiling():
        results = {f"out_{field}": value for field, value in zip(fields, out, strict=True)}
        getattr(torch.ops.impsamp_fast, name).out(*arguments, **results)
        return out
    for field, value in zip(fields, out, strict=True):
        if value.is_neg():  # torch resolves those only for operators that return what they fill
            named = "out" if len(out) == 1 else f"out.{field}"
            raise ValueError(f"{named} is lazily negated, but must be memory as it is")
    getattr(_C, f"{name}_out")(*arguments, *out)
    return out


def _new_draw(weights: Tensor, n: int) -> Draw:
    """A place for the results of draw()."""
    return Draw(*_fakes.fake_draw(checked_tensor(weights), checked_size(n)))


def _new_selection(logits: Tensor, n: int) -> Selection:
    """A place for the results of select()."""
    return Selection(*_fakes.fake_select(checked_tensor(logits), logits, checked_size(n)))
