"""The truth about one row in 100 digits, and the comparison by relative error."""

import math
from collections.abc import Iterator, Sequence

import torch
from mpmath import mp, mpf
from torch import Tensor

FLOAT32_TINY = torch.finfo(torch.float32).tiny


def exact_row(logits: Sequence[float], target: int) -> dict[str, float]:
    """Every statistic and score of a row with a hard target, straight from its definition."""
    with mp.workdps(100):
        z = [mpf(v) for v in logits]
        largest = max(z)
        e = [mp.exp(v - largest) if v > -mp.inf else mpf(0) for v in z]
        total = sum(e)
        p = [v / total for v in e]
        others = [v for j, v in enumerate(p) if j != target]
        # Not 1 - p_y: that rounds to 0 even in 100 digits once the others are below 1e-100.
        wrong = sum(others, mpf(0))
        margin = p[target] - max(others, default=mpf(0))
        return {
            "loss": float(mp.log1p(wrong / p[target])) if p[target] else math.inf,
            "grad_norm": float(mp.sqrt(wrong**2 + sum((v**2 for v in others), mpf(0)))),
            "p_true": float(p[target]),
            "margin": float(margin),
            "entropy": float(-sum((v * mp.log(v) for v in p if 0 < v < 1), mpf(0))),
            "p_wrong": float(wrong),
            "margin_score": float(wrong + max(others, default=mpf(0))),
        }


def exact_soft_norm(
    logits: Sequence[float],
    target: Sequence[float],
    label_smoothing: float = 0.0,
    class_weight: Sequence[float] | None = None,
) -> tuple[float, float]:
    """|T p - t'| of a row with class probabilities, and T |p - onehot(y)| with y their largest."""
    with mp.workdps(50):
        z, eps, classes = [mpf(v) for v in logits], mpf(label_smoothing), len(logits)
        largest = max(z)
        e = [mp.exp(v - largest) for v in z]
        normaliser = sum(e)
        p = [v / normaliser for v in e]
        weight = [mpf(v) for v in class_weight or [1.0] * classes]
        t = [w * ((1 - eps) * mpf(v) + eps / classes) for w, v in zip(weight, target, strict=True)]
        total = sum(t)
        norm = mp.sqrt(sum((total * a - b) ** 2 for a, b in zip(p, t, strict=True)))
        others = [v for j, v in enumerate(p) if j != list(target).index(max(target))]
        away = mp.sqrt(sum(others, mpf(0)) ** 2 + sum((v**2 for v in others), mpf(0)))
        return float(norm), float(total * away)


def assert_close_norms(
    actual: Tensor,
    logits: Tensor,
    target: Tensor,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    what: str = "",
) -> None:
    """grad_norm within 2e-6 of itself and 2^-42 T |p - onehot(y)|, for class probabilities."""
    weight = None if class_weight is None else class_weight.tolist()
    for i, (z, t) in enumerate(zip(logits.tolist(), target.tolist(), strict=True)):
        norm, away = exact_soft_norm(z, t, label_smoothing, weight)
        error = abs(actual[i].item() - norm)
        allowed = 2e-6 * norm + 2.0**-42 * away + FLOAT32_TINY
        assert error <= allowed, f"{what}, row {i}: {actual[i].item()!r}, but it is {norm!r}"


def close_rows(classes: int, size: float, rows: int = 16) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Logits, and class probabilities from those that they give to others, ever farther off."""
    logits = size * torch.randn(rows, classes)
    yield "rounded", logits, logits.double().softmax(-1).float()
    for distance in (1e-4, 1e-2, 0.1, 0.3, 1.0):
        moved = logits + distance * torch.randn(rows, classes)
        yield f"{distance} off", logits, moved.softmax(-1)


def assert_relative(actual: Tensor, truth: Tensor, tolerance: float, what: str = "") -> None:
    """Relative error at most ``tolerance`` wherever the truth is a normal float32 number.

    Below that range the error may be as large as the smallest normal number.
    """
    actual, truth = actual.double().flatten(), truth.double().flatten()
    assert actual.shape == truth.shape
    same_infinity = torch.isinf(truth) & (actual == truth)
    allowed = (tolerance * truth.abs()).clamp(min=tolerance * FLOAT32_TINY)
    allowed = torch.where(truth.abs() < FLOAT32_TINY, FLOAT32_TINY, allowed)
    wrong = ~(((actual - truth).abs() <= allowed) | same_infinity)
    if wrong.any():
        error = ((actual - truth) / truth).abs()
        worst = int(torch.where(wrong, error.nan_to_num(torch.inf), -1.0).argmax())
        raise AssertionError(
            f"{what}: {int(wrong.sum())} of {wrong.numel()} values are off; worst at {worst}: "
            f"{actual[worst].item()!r}, but the truth is {truth[worst].item()!r} "
            f"(relative error {error[worst].item():.3g}, allowed {tolerance:.3g})"
        )
