"""What the draws are for: an estimate of the large batch's mean loss that is unbiased and steady.

The seeds are fixed. Each z-test would raise a false alarm with other seeds with probability 1e-6.
"""

import pytest
import torch
from scipy import stats
from torch import Tensor

import impsamp_fast as isf
from tests.goodness import FALSE_ALARM
from tests.methods import RANDOM_METHODS

pytestmark = pytest.mark.usefixtures("carried_operators")


def batch(rows: int = 48, sort: bool = False) -> tuple[Tensor, Tensor]:
    """Logits whose losses differ by two orders of magnitude, and targets."""
    generator = torch.Generator().manual_seed(11)
    target = torch.randint(4, (rows,), generator=generator)
    logits = torch.randn(rows, 4, generator=generator)
    logits[torch.arange(rows), target] += 4 * torch.rand(rows, generator=generator)
    if sort:
        order = isf.row_stats(logits, target).loss.argsort()
        logits, target = logits[order], target[order]
    return logits, target


def estimates(
    logits: Tensor, target: Tensor, values: Tensor, repeats: int, n: int = 8, **options: object
) -> Tensor:
    """mean(weight * value[index]) for many seeds."""
    result = torch.empty(repeats, dtype=torch.float64)
    for seed in range(repeats):
        picked = isf.select(logits, target, n, seed=seed, **options)
        result[seed] = (picked.weight * values[picked.index]).mean()
    return result


def assert_mean(sample: Tensor, expected: Tensor) -> None:
    """A z-test. A sample without variance may be off by the rounding of float32."""
    error = sample.std() / len(sample) ** 0.5
    limit = stats.norm.isf(FALSE_ALARM / 2) * error + 1e-6 * expected.abs()
    assert (sample.mean() - expected).abs() <= limit


@pytest.mark.parametrize("method", RANDOM_METHODS)
@pytest.mark.parametrize(
    "options",
    [
        {"score": "grad_norm"},
        {"score": "loss"},
        {"score": "p_wrong", "smoothing": 0.3},
        {"score": "grad_norm", "correction": 1.0},
    ],
    ids=str,
)
def test_unbiased(method: str, options: dict[str, object]) -> None:
    logits, target = batch()
    loss = isf.row_stats(logits, target).loss
    for values in (loss, torch.linspace(-1, 1, len(loss))):
        sample = estimates(logits, target, values, 8000, method=method, **options)
        assert_mean(sample, values.double().mean())


def test_ignored_rows_count_as_zero_loss() -> None:
    """They are never drawn, and the estimate is of the mean over all K rows."""
    logits, target = batch()
    target[::4] = -100
    loss = isf.row_stats(logits, target).loss
    for method in RANDOM_METHODS:
        sample = estimates(logits, target, loss, 8000, method=method, smoothing=0.2)
        assert_mean(sample, loss.double().mean())


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("score", ["grad_norm", "entropy", "loss"])
def test_stratified_never_varies_more_than_multinomial(score: str, sort: bool) -> None:
    """By an F-test: with other seeds a false alarm would have a probability of about 1e-6."""
    logits, target = batch(sort=sort)
    for values in (isf.row_stats(logits, target).loss, torch.linspace(0, 1, len(target)) ** 2):
        variance = {
            method: estimates(logits, target, values, 4000, score=score, method=method).var()
            for method in ("multinomial", "stratified")
        }
        slack = stats.f.isf(FALSE_ALARM, 3999, 3999)
        assert variance["stratified"] <= slack * variance["multinomial"] + 1e-12


def test_what_the_other_methods_save_on_sorted_rows() -> None:
    """Rows in order of difficulty: systematic points and pps spread the draws evenly over it.

    A race does not: its sum of weights varies with the last arrival, which "normalized" undoes.
    """
    logits, target = batch(rows=256, sort=True)
    loss = isf.row_stats(logits, target).loss
    variance = {
        method: float(estimates(logits, target, loss, 2000, n=32, method=method).var())
        for method in RANDOM_METHODS
    }
    print({method: f"{v / variance['multinomial']:.3f}" for method, v in variance.items()})
    assert variance["stratified"] < 0.5 * variance["multinomial"]
    assert variance["systematic"] < 0.5 * variance["multinomial"]
    assert variance["pps"] < 0.5 * variance["multinomial"]
