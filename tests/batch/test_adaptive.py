"""ConstantTime and ConstantVariance: batch sizes that follow the variance reduction."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from impsamp_fast import Always, ConstantTime, ConstantVariance

N, C = 100, 3


def batch(rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return (
        torch.randn(rows, 5, generator=generator),
        torch.randint(C, (rows,), generator=generator),
    )


def concentrated(share: float) -> Any:
    """Scores of which a share of the rows has all: tau is 1 / sqrt(share)."""

    def score(logits: Tensor, y: Tensor) -> Tensor:
        return (torch.arange(len(y)) < max(1, round(share * len(y)))).float()

    return score


def after_steps(strategy: Any, steps: int = 100) -> tuple[int, int]:
    """Rows that it asks for and rows that it returns, once its average is steady."""
    for _ in range(steps):
        rows = strategy.raw_size
        mini = strategy(*batch(rows))
    return rows, mini.index.numel()


@pytest.mark.parametrize("tau", [2.5, 4.0, 5.0])
def test_constant_time_takes_the_time_of_a_uniform_step(tau: float) -> None:
    strategy = ConstantTime(nn.Linear(5, C), N, score=concentrated(1 / tau**2), seed=0)
    K, n = after_steps(strategy)
    reached = strategy._rule.average
    fewest = max(0.2 * N, N / reached)
    assert int(N + 0.5 * (3 * N - 3 * fewest - N)) == K
    assert n == int((3 * N - K) / 3)
    assert 3 * N - 3 <= K + 3 * n <= 3 * N  # forward passes of K, both passes of n rows


@pytest.mark.parametrize("tau", [2.5, 4.0, 10.0])
def test_constant_variance_trains_on_fewer(tau: float) -> None:
    strategy = ConstantVariance(nn.Linear(5, C), N, score=concentrated(1 / tau**2), seed=0)
    K, n = after_steps(strategy)
    assert K == N
    assert n == int((1 / strategy._rule.average + 0.2) * N)


@pytest.mark.parametrize("kind", [ConstantTime, ConstantVariance])
def test_scores_that_are_alike_are_trained_on_uniformly(kind: Any) -> None:
    strategy = kind(nn.Linear(5, C), N, score=concentrated(1.0), seed=0)
    assert after_steps(strategy) == (N, N)
    mini = strategy(*batch(N))
    assert not mini.importance
    assert mini.index.unique().numel() == N


@pytest.mark.parametrize("kind", [ConstantTime, ConstantVariance])
def test_the_mean_of_a_mini_batch_is_unbiased(kind: Any) -> None:
    """|z| < 4.5 over 2,000 mini-batches: fails one time in 150,000 when all is well."""
    model = nn.Linear(5, C)
    strategy = kind(model, 20, score=lambda z, y: z.square().sum(-1) ** 4 + 0.05, seed=0)
    x, y = batch(60)
    losses = F.cross_entropy(model(x), y, reduction="none").detach()
    for _ in range(100):
        strategy(x, y)
    means, sizes = [], set()
    for _ in range(2000):
        mini = strategy(x, y)
        assert mini.importance
        sizes.add(mini.index.numel())
        means.append(mini.mean(losses[mini.index]).item())
    assert max(sizes) < 20
    found = torch.tensor(means, dtype=torch.float64)
    z = (found.mean() - losses.double().mean()) / (found.std() / math.sqrt(len(means)))
    assert abs(z) < 4.5


def test_the_thresholds_are_those_of_the_authors_code() -> None:
    model = nn.Linear(5, C)
    assert ConstantTime(model, N)._rule.threshold == 2.0
    assert ConstantVariance(model, N)._rule.threshold == pytest.approx(1 / (2 / 3 - 0.2))


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (ConstantTime, {"least": 0.0}, ValueError, "least"),
        (ConstantTime, {"ratio": 1.1}, ValueError, "ratio"),
        (ConstantTime, {"backward": -1}, ValueError, "backward"),
        (ConstantTime, {"threshold": 0.5}, ValueError, "threshold"),
        (ConstantVariance, {"extra": 0.7}, ValueError, "extra"),
        (ConstantVariance, {"momentum": 1.0}, ValueError, "momentum"),
        (ConstantTime, {"start": Always()}, TypeError, "start is given, but a ConstantTime has"),
        (ConstantVariance, {"batches_per_pool": 2}, TypeError, "batches_per_pool is given"),
        (ConstantTime, {"colour": "red"}, TypeError, "colour"),
    ],
)
def test_bad_settings(kind: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kind(nn.Linear(5, C), N, **options)


@pytest.mark.parametrize("kind", [ConstantTime, ConstantVariance])
def test_its_target_is_the_selectors(kind: Any) -> None:
    strategy = kind(nn.Linear(5, C), N, target="label")
    assert strategy.target == "label"
    x, y = batch(strategy.raw_size)
    assert strategy({"input": x, "label": y}).y.shape == (N,)


def test_its_options_are_shown() -> None:
    made = isf.ConstantTime(nn.Linear(5, C), N, ratio=0.25, method="race", seed=3)
    assert repr(made) == "ConstantTime(Linear, 100, ratio=0.25, method='race', seed=3)"
