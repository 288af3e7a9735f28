"""Draws of rows by weights."""

from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from impsamp_fast.ops._arguments import number_and_tensor
from impsamp_fast.ops._call import operator
from impsamp_fast.ops._fakes import check_count, check_numbers, check_seed, fake_of, result_dtype
from impsamp_fast.ops._status import raise_if_nan


class Draw(NamedTuple):
    """Drawn rows: ``index`` [n] int64 and ``prob`` [n]."""

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    prob: Tensor


_draw = operator("draw", Draw)


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
    number, device_seed = number_and_tensor(seed)
    arguments = (weights, n, method, number, generator, device_seed)
    drawn = _draw(arguments, out)
    if validate:
        raise_if_nan("draw", drawn.prob, (weights, n, method, 0, None, None))
    return drawn


@fake_of("draw", Draw._fields)
def _fake(given: SimpleNamespace) -> tuple[Tensor, ...]:
    weights, n = given.weights, given.n
    check_numbers("weights", weights, "[K]")
    check_count(n, weights.shape[0], "weights")
    check_seed(given, weights.device)
    return (
        weights.new_empty(n, dtype=torch.int64),
        weights.new_empty(n, dtype=result_dtype(weights)),
    )
