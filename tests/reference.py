"""Each operator in a few lines, slow and in double precision: what the tests compare with.

The functions have the signatures of :mod:`impsamp_fast.ops`, except that a draw always has a seed.
They check nothing: they say what the result is for legal input. Statistics are float64 whatever
the dtype of the logits. Draws are computed with Python's unlimited integers, so the compiled
operators must return the same rows for the same seed.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from impsamp_fast.ops import Draw, RowStats, Selection

_Rows = tuple[list[int], list[float]]


def row_stats(
    logits: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> RowStats:
    """The five statistics of each row, float64, in the leading shape of ``logits``.

    With t the target distribution, w the class weights and t' = w ((1 - eps) t + eps / C), the loss
    is sum_j t'_j (-log p_j), which is ``torch.nn.functional.cross_entropy``, and grad_norm the norm
    of its gradient, sum(t') p - t'. Class weights and label smoothing leave the others alone:
    p_true = sum_j t_j p_j, margin (p_y less the largest other probability, with y = argmax t) and
    entropy. A row whose target is ``ignore_index`` has 0 everywhere.
    """
    classes = logits.shape[-1]
    p, not_p, surprise = _softmax(logits.double())
    t, ignored = _target_distribution(target, classes, ignore_index)
    w = torch.ones(classes) if class_weight is None else class_weight
    t_weighted = w.double() * ((1 - label_smoothing) * t + label_smoothing / classes)
    total = t_weighted.sum(-1, keepdim=True)

    loss = _times(t_weighted, surprise).sum(-1)
    # sum(t') p_j - t'_j, arranged so that p_j close to 1 cancels nothing.
    gradient = p * (total - t_weighted) - t_weighted * not_p
    is_y = torch.arange(classes) == t.argmax(-1, keepdim=True)
    p_y = (p * is_y).sum(-1)
    largest_other = p.masked_fill(is_y, 0.0).amax(-1)
    return RowStats(
        *(
            statistic.masked_fill(ignored, 0.0)
            for statistic in (
                loss,
                gradient.norm(dim=-1),
                (t * p).sum(-1),
                p_y - largest_other,
                _times(p, surprise).sum(-1),
            )
        )
    )


def score(
    logits: Tensor,
    target: Tensor,
    kind: str = "grad_norm",
    features: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> Tensor:
    """The score of each row, float64, in the leading shape of ``logits``; 0 for an ignored row.

    ``"last_layer"`` is the Frobenius norm of the gradient of a last linear layer (weight and bias)
    whose input is ``features`` h: grad_norm * sqrt(1 + sum(h^2)).
    """
    stats = row_stats(
        logits,
        target,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        ignore_index=ignore_index,
    )
    _, ignored = _target_distribution(target, logits.shape[-1], ignore_index)
    return _score_of(stats, kind, features).masked_fill(ignored, 0.0)


def draw(weights: Tensor, n: int, method: str = "multinomial", seed: int = 0) -> Draw:
    """``n`` rows picked by ``weights`` [K], exactly, with the random numbers of ``seed``."""
    if not weights.any():
        weights = torch.ones_like(weights)
    w = weights.double().tolist()
    if method == "topk":
        index, prob = _topk(w, n)
    else:
        index, prob = _METHODS[method](fixed_point(w), n, lambda i: random_number(seed, i))
    return Draw(torch.tensor(index), torch.tensor(prob, dtype=torch.float64))


def select(
    logits: Tensor,
    target: Tensor,
    n: int,
    score: str = "grad_norm",
    method: str = "multinomial",
    correction: str | float = "unbiased",
    features: Tensor | None = None,
    smoothing: float = 0.0,
    seed: int = 0,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> Selection:
    """Score, draw and weigh ``n`` rows of ``logits.reshape(-1, C)``."""
    stats = row_stats(
        logits,
        target,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        ignore_index=ignore_index,
    )
    _, ignored = _target_distribution(target, logits.shape[-1], ignore_index)
    scores = _score_of(stats, score, features).masked_fill(ignored, 0.0)
    weights = sampling_weights(scores.flatten(), ignored.flatten(), smoothing)
    index, prob = draw(weights, n, method, seed)
    g = weights / weights.sum()
    return Selection(
        index,
        corrected(prob, weights[index], len(weights), method, correction),
        scores,
        stats.loss,
        (len(weights) * g.square().sum()).sqrt(),
        torch.tensor(0),
    )


def sampling_weights(scores: Tensor, ignored: Tensor, smoothing: float) -> Tensor:
    """(1 - a) score + a mean(score) over the rows that count; equal where all scores are 0.

    The last bits decide which row is drawn, so they are part of the definition. The mean is that of
    the scores in fixed point, whose sum is exact, and every operation is rounded to the precision
    of the scores. A chance is at least the smallest number, and at most the largest score.
    """
    if not scores.any():
        return (~ignored).to(scores.dtype)
    scores = scores.masked_fill(ignored, 0.0)
    if smoothing == 0:
        return scores
    largest = scores.max()
    total = torch.tensor(sum(fixed_point(scores.tolist()))).to(scores.dtype)
    mean = math.ldexp((total / (~ignored).sum()).item(), -fixed_point_shift(scores.tolist()))
    keep, share = scores.new_tensor(1 - smoothing), scores.new_tensor(smoothing)
    smoothed = keep * scores + share * torch.minimum(scores.new_tensor(mean), largest)
    least = torch.nextafter(largest.new_zeros(()), largest)
    return smoothed.clamp(min=least, max=largest).masked_fill(ignored, 0.0)


def corrected(
    prob: Tensor, drawn_by: Tensor, rows: int, method: str, correction: str | float
) -> Tensor:
    """The weight [n] of each picked row, from its prob [n] and the sampling weights [n].

    With "unbiased", mean(weight * loss[index]) estimates the mean loss of all rows. A number k
    gives the biased variant of Katharopoulos and Fleuret (2018): unbiased**k, rescaled so that
    sum(weight * drawn_by) over the picked rows stays what it was.
    """
    picked = len(prob)
    match method:
        case "topk":
            unbiased = torch.ones_like(prob)
        case "race" | "pps":
            unbiased = picked / (rows * prob)
        case _:
            unbiased = 1 / (rows * prob)
    match correction:
        case "none":
            return torch.ones_like(prob)
        case "unbiased":
            return unbiased
        case "normalized":
            return unbiased / unbiased.mean()
        case k:
            powered = unbiased ** float(k)
            return powered * ((unbiased * drawn_by).sum() / (powered * drawn_by).sum())


def fixed_point(weights: list[float]) -> list[int]:
    """Weights as integers with a sum below 2^63; a positive weight never rounds to 0."""
    shift = fixed_point_shift(weights)
    return [max(1, math.floor(math.ldexp(w, shift))) if w > 0 else 0 for w in weights]


def fixed_point_shift(weights: list[float]) -> int:
    """The power of two that they are multiplied by."""
    _, exponent = math.frexp(max(weights))  # floor(log2(max)) + 1
    row_bits = (len(weights) - 1).bit_length()  # ceil(log2(K))
    return 62 - row_bits - (exponent - 1)


def random_number(seed: int, i: int) -> int:
    """The i-th 64-bit random number of a seed: one half of a block of Philox4x32-10.

    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
    """
    low32 = 0xFFFFFFFF
    block = i // 2
    c = (block & low32, block >> 32, 0, 0)
    k = (seed & low32, (seed >> 32) & low32)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = ((b >> 32) ^ c[1] ^ k[0], b & low32, (a >> 32) ^ c[3] ^ k[1], a & low32)
        k = ((k[0] + 0x9E3779B9) & low32, (k[1] + 0xBB67AE85) & low32)
    return c[2] | c[3] << 32 if i % 2 else c[0] | c[1] << 32


def _multinomial(f: list[int], n: int, u: Callable[[int], int]) -> _Rows:
    total = sum(f)
    return _rows_at(f, [(u(i) * total) >> 64 for i in range(n)])


def _stratified(f: list[int], n: int, u: Callable[[int], int]) -> _Rows:
    total = sum(f)
    strata = pairwise(i * total // n for i in range(n + 1))
    return _rows_at(
        f, [low + ((u(i) * (high - low)) >> 64) for i, (low, high) in enumerate(strata)]
    )


def _systematic(f: list[int], n: int, u: Callable[[int], int]) -> _Rows:
    total = sum(f)
    offset = (u(0) * total) >> 64
    return _rows_at(f, [(i * total + offset) // n for i in range(n)])


def _rows_at(f: list[int], points: list[int]) -> _Rows:
    """The rows in whose part of the cumulative sum the points fall: the inverse of the CDF."""
    cumulative = list(accumulate(f))
    index = [bisect_right(cumulative, point) for point in points]
    return index, [f[i] / cumulative[-1] for i in index]


def _race(f: list[int], n: int, u: Callable[[int], int]) -> _Rows:
    """The n first arrivals, when row i arrives after an exponential time of rate f_i."""
    arrivals = sorted((-math.log1p(-u(i) / 2**64) / f_i, i) for i, f_i in enumerate(f) if f_i)
    index = [i for _, i in arrivals[:n]]
    next_arrival = arrivals[n][0] if n < len(arrivals) else math.inf
    return index, [-math.expm1(-f[i] * next_arrival) for i in index]


def _pps(f: list[int], n: int, u: Callable[[int], int]) -> _Rows:
    """Rows too large for a probability below 1 are certain; the others are drawn systematically."""
    certain: set[int] = set()
    others, total = f, sum(f)
    while large := {i for i, f_i in enumerate(others) if f_i and (n - len(certain)) * f_i >= total}:
        certain |= large
        others = [0 if i in certain else f_i for i, f_i in enumerate(f)]
        total = sum(others)
    still = n - len(certain)
    drawn = _systematic(others, still, u)[0] if still else []
    index = sorted([*certain, *drawn])
    return index, [1.0 if i in certain else still * f[i] / total for i in index]


def _topk(weights: list[float], n: int) -> _Rows:
    index = sorted(range(len(weights)), key=lambda i: (-weights[i], i))[:n]
    return index, [1.0] * n


_METHODS: dict[str, Callable[[list[int], int, Callable[[int], int]], _Rows]] = {
    "multinomial": _multinomial,
    "stratified": _stratified,
    "systematic": _systematic,
    "race": _race,
    "pps": _pps,
}


def _score_of(stats: RowStats, kind: str, features: Tensor | None) -> Tensor:
    match kind:
        case "loss":
            return stats.loss
        case "grad_norm":
            return stats.grad_norm
        case "last_layer":
            assert features is not None
            return stats.grad_norm * (1 + features.double().square().sum(-1)).sqrt()
        case "p_wrong":
            return 1 - stats.p_true
        case "margin":
            return 1 - stats.margin
        case "entropy":
            return stats.entropy
    raise ValueError(f"no score is called {kind!r}")


def _softmax(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """p, 1 - p and -log p [..., C], all with a small relative error.

    The largest class is kept out of the sum, so that 1 - p and log p do not round to 0 where that
    class dominates.
    """
    largest = z.amax(-1, keepdim=True)
    is_largest = torch.arange(z.shape[-1]) == z.argmax(-1, keepdim=True)
    e = (z - largest).exp()
    rest = e.masked_fill(is_largest, 0.0).sum(-1, keepdim=True)
    p = e / (1 + rest)
    not_p = torch.where(is_largest, rest / (1 + rest), 1 - p)
    return p, not_p, largest - z + rest.log1p()


def _target_distribution(
    target: Tensor, classes: int, ignore_index: int | None
) -> tuple[Tensor, Tensor]:
    """The target as probabilities [..., C], and which rows are ignored [...]."""
    if target.is_floating_point():
        return target.double(), torch.zeros(target.shape[:-1], dtype=torch.bool)
    ignored = target == ignore_index if ignore_index is not None else target != target
    y = target.masked_fill(ignored, 0).long()
    return torch.nn.functional.one_hot(y, classes).double(), ignored


def _times(a: Tensor, b: Tensor) -> Tensor:
    """a * b with 0 * inf = 0."""
    return torch.where(a == 0, 0.0, a * b)
