"""The functional API: row statistics, scores, draws, and all of it in one call.

Eager calls go straight to the compiled operators; under ``torch.compile`` the same operators run as
``torch.ops.impsamp_fast``. Nothing here is differentiated: results never require grad.
"""

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from impsamp_fast import _fakes as _fakes  # registers them
from impsamp_fast._extension import _C

__all__ = ["Draw", "RowStats", "Selection", "draw", "row_stats", "score", "select"]


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
    ignore_index: int = -100,
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
    So does that of ``entropy`` where the target is the most probable class; elsewhere, and for
    ``margin``, the absolute error does.

    Args:
        logits: ``[..., C]``, float32, float64, float16 or bfloat16, any strides. -inf masks
            a class.
        target: class indices ``[...]`` (int64 or int32) or class probabilities ``[..., C]``
            (floating point).
        label_smoothing: in [0, 1].
        class_weight: ``[C]``, floating point, finite and not negative. It scales ``loss`` and
            ``grad_norm``.
        ignore_index: rows with this class index have all statistics 0.

    Returns:
        Five tensors ``[...]``, float64 for float64 logits and float32 for all others.

    Raises:
        IndexError: a class index is out of range.
        ValueError: a shape, device or value does not fit; a logit is NaN or +inf; a row is -inf
            throughout.
        TypeError: a dtype or the kind of an argument does not fit.
    """
    operator = _operators().row_stats
    try:
        found = operator(logits, target, label_smoothing, class_weight, ignore_index)
    except TypeError as error:
        _explain(error, locals())
    return RowStats(*found)


def score(
    logits: Tensor,
    target: Tensor,
    kind: str = "grad_norm",
    features: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int = -100,
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

    Returns:
        ``[...]``, not negative, float64 for float64 logits and float32 for all others.

    Raises:
        IndexError: as in :func:`row_stats`.
        ValueError: as in :func:`row_stats`; an unknown kind; features missing or not asked for.
        TypeError: as in :func:`row_stats`.
    """
    operator = _operators().score
    try:
        found: Tensor = operator(
            logits, target, kind, features, label_smoothing, class_weight, ignore_index
        )
    except TypeError as error:
        _explain(error, locals())
    return found


def draw(
    weights: Tensor,
    n: int,
    method: str = "multinomial",
    seed: int | Tensor | None = None,
    generator: torch.Generator | None = None,
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
            number.
        generator: without a seed, the ``torch.Generator`` that decides; torch's default otherwise.
            ``torch.compile`` cannot trace a generator: pass a seed there.

    Returns:
        ``Draw(index, prob)``: index ``[n]`` int64; prob ``[n]``, float64 for float64 weights and
        float32 for all others.

    Raises:
        ValueError: a weight is negative or not finite, n or the method does not fit, or both seed
            and generator are given.
        TypeError: a dtype or the kind of an argument does not fit.
    """
    operator = _operators().draw
    try:
        found = operator(weights, n, method, _signed(seed), generator)
    except TypeError as error:
        _explain(error, locals())
    return Draw(*found)


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
    ignore_index: int = -100,
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

    Returns:
        ``Selection`` of

        - ``index`` ``[n]`` int64: rows of ``logits.reshape(-1, C)``, in the order of the draw;
        - ``weight`` ``[n]``;
        - ``score`` and ``loss`` ``[...]`` of all rows;
        - ``tau`` ``[]``: sqrt(K sum g^2), with g what rows are drawn by, normalised to sum 1. It
          equals sqrt(K / effective sample size) (Katharopoulos and Fleuret 2018, section 3.3);
        - ``status`` ``[]`` int64: 0. On the CPU what goes wrong raises; on an accelerator, where a
          synchronisation would be needed to raise, it is written here.

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
    operator = _operators().select
    try:
        found = operator(
            logits,
            target,
            n,
            score,
            method,
            rule,
            exponent,
            features,
            smoothing,
            _signed(seed),
            generator,
            label_smoothing,
            class_weight,
            ignore_index,
        )
    except TypeError as error:
        _explain(error, locals())
    return Selection(*found)


def _operators() -> Any:
    """The compiled operators: by pybind11, which costs least, or where torch.compile sees them."""
    return torch.ops.impsamp_fast if torch.compiler.is_compiling() else _C


def _signed(seed: int | Tensor | None) -> int | Tensor | None:
    """A seed of 64 bits as the signed integer with the same bits."""
    if type(seed) is not int or -(2**63) <= seed < 2**63:
        return seed
    if seed < 2**64:
        return seed - 2**64
    raise ValueError(f"seed is {seed}, but must be an integer of 64 bits")


_EXPECTED: dict[str, tuple[tuple[type, ...], str]] = {
    "logits": ((Tensor,), "a tensor"),
    "target": ((Tensor,), "a tensor"),
    "weights": ((Tensor,), "a tensor"),
    "features": ((Tensor, type(None)), "a tensor or None"),
    "class_weight": ((Tensor, type(None)), "a tensor or None"),
    "n": ((int,), "an int"),
    "ignore_index": ((int,), "an int"),
    "seed": ((int, type(None)), "an int or None"),
    "generator": ((torch.Generator, type(None)), "a torch.Generator or None"),
    "kind": ((str,), "a str"),
    "score": ((str,), "a str"),
    "method": ((str,), "a str"),
    "correction": ((str, float, int), "a str or a float"),
    "label_smoothing": ((float, int), "a float"),
    "smoothing": ((float, int), "a float"),
}


def _explain(error: TypeError, arguments: dict[str, Any]) -> NoReturn:
    """Raises an error that names the argument, where pybind11's only lists the signature."""
    for name, value in arguments.items():
        expected = _EXPECTED.get(name)
        if expected and not isinstance(value, expected[0]):
            found = f"{type(value).__name__} {value!r}"
            raise TypeError(f"{name} is {found:.80}, but must be {expected[1]}") from None
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} is {value}, but must be an integer of 64 bits") from None
        if isinstance(value, str) and not value.isprintable():
            raise ValueError(f"{name} is {value!r}, which is no known name") from None
    raise error
