"""How often rows are drawn, against their probability.

The seeds are fixed, so these tests always give the same answer. A correct implementation with other
seeds would fail any one check here with a probability of at most 1e-6.
"""

import numpy as np
import pytest
import torch
from scipy import stats

import impsamp_fast as isf
from tests.goodness import FALSE_ALARM
from tests.methods import RANDOM_METHODS, WITH_REPLACEMENT

pytestmark = pytest.mark.usefixtures("carried_operators")

SHAPES = {
    "skewed": torch.arange(1, 1001).float() ** 3,
    "flat": torch.ones(1024),
    "decades": torch.logspace(-6, 6, 500),
    "few": torch.tensor([0.1, 0.0, 0.6, 0.3]),
    "exponential": torch.linspace(0, 30, 3000).exp(),
}


def assert_frequencies(counts: np.ndarray, probability: np.ndarray) -> None:
    """Pearson's chi-square, cells with an expectation below 10 pooled into one."""
    expected = counts.sum() * probability
    assert (counts[expected == 0] == 0).all()
    small = expected < 10
    observed = np.append(counts[~small], counts[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    if expected[-1] < 10:
        assert stats.poisson.sf(observed[-1] - 1, expected[-1]) > FALSE_ALARM
        observed, expected = observed[:-1], expected[:-1]
    if len(observed) > 1:
        statistic = ((observed - expected) ** 2 / expected).sum()
        assert stats.chi2.sf(statistic, len(observed) - 1) > FALSE_ALARM


def probabilities(weights: torch.Tensor) -> np.ndarray:
    return (weights.double() / weights.double().sum()).numpy()


@pytest.mark.parametrize("name", SHAPES)
def test_multinomial_chi_square(name: str) -> None:
    weights = SHAPES[name]
    index = isf.draw(weights, 10**7, "multinomial", seed=1).index
    assert_frequencies(index.bincount(minlength=len(weights)).numpy(), probabilities(weights))


def test_one_hot() -> None:
    weights = torch.zeros(1000)
    weights[617] = 1e-30
    for method in WITH_REPLACEMENT:
        drawn = isf.draw(weights, 10**6, method, seed=2)
        assert (drawn.index == 617).all()
        assert (drawn.prob == 1).all()


def test_multinomial_draws_are_independent_of_their_place() -> None:
    """Pairs of consecutive draws are as frequent as the product of their probabilities."""
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    index = isf.draw(weights, 10**6, "multinomial", seed=3).index.view(-1, 2)
    pairs = (4 * index[:, 0] + index[:, 1]).bincount(minlength=16).numpy()
    p = probabilities(weights)
    assert_frequencies(pairs, np.outer(p, p).ravel())


@pytest.mark.parametrize("method", WITH_REPLACEMENT)
def test_first_draw_over_seeds(method: str) -> None:
    """One draw per seed: the seeds are as random as the numbers of one seed."""
    weights = SHAPES["few"]
    first = torch.cat([isf.draw(weights, 1, method, seed).index for seed in range(20_000)])
    assert_frequencies(first.bincount(minlength=4).numpy(), probabilities(weights))


def test_more_than_2_to_the_24_rows() -> None:
    """float32 cumulative sums stop growing at 2^24; the upper half must still get its share."""
    rows, n = 2**25, 10**6
    weights = torch.ones(1).expand(rows)
    for method in RANDOM_METHODS:
        drawn = isf.draw(weights, n, method, seed=4)
        upper = int((drawn.index >= rows // 2).sum())
        assert stats.binomtest(upper, n, 0.5).pvalue > FALSE_ALARM, method
        last_quarter = int((drawn.index >= rows // 4 * 3).sum())
        assert stats.binomtest(last_quarter, n, 0.25).pvalue > FALSE_ALARM, method
        assert 0 <= drawn.index.min() <= drawn.index.max() < rows


def test_small_weights_beside_one_12_decades_larger() -> None:
    """A million rows that share 1e-6 of the probability get about 10 of 10^7 draws."""
    weights = torch.ones(10**6)
    weights[500_000] = 1e12
    index = isf.draw(weights, 10**7, "multinomial", seed=5).index
    small = int((index != 500_000).sum())
    expected = 10**7 * (10**6 - 1) / (1e12 + 10**6 - 1)
    tail = min(stats.poisson.cdf(small, expected), stats.poisson.sf(small - 1, expected))
    assert tail > FALSE_ALARM / 2
    assert small > 0


def inclusions(weights: torch.Tensor, n: int, method: str, repeats: int) -> np.ndarray:
    """Which rows each of many draws holds, [repeats, K]."""
    included = np.zeros((repeats, len(weights)))
    for seed in range(repeats):
        included[seed, isf.draw(weights, n, method, seed).index.numpy()] = 1
    return included


def assert_means(values: np.ndarray, expected: np.ndarray) -> None:
    """A z-test of each column's mean over independent rows; the columns share the false alarms.

    A column without variance may be off by the rounding of float32.
    """
    error = values.std(axis=0, ddof=1) / len(values) ** 0.5
    limit = stats.norm.isf(FALSE_ALARM / 2 / values.shape[1])
    assert (np.abs(values.mean(axis=0) - expected) <= limit * error + 1e-6 * np.abs(expected)).all()


SAMPLED = {
    "plain": (torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), 3),
    "some certain": (torch.tensor([1.0, 1.0, 2.0, 30.0, 3.0, 0.0, 9.0]), 4),
    "flat": (torch.ones(10), 4),
    "nearly all": (torch.rand(12, generator=torch.Generator().manual_seed(5)), 11),
}


def proportional_to_size(p: np.ndarray, n: int) -> np.ndarray:
    """n p, where what exceeds 1 becomes 1 and the others share what is left."""
    certain = np.zeros(len(p), dtype=bool)
    while True:
        inclusion = np.where(certain, 1.0, (n - certain.sum()) * p / p[~certain].sum())
        if (inclusion <= 1).all():
            return inclusion
        certain |= inclusion >= 1


@pytest.mark.parametrize("name", SAMPLED)
def test_pps_inclusion_frequencies(name: str) -> None:
    weights, n = SAMPLED[name]
    expected = proportional_to_size(probabilities(weights), n)
    assert_means(inclusions(weights, n, "pps", 20_000), expected)


@pytest.mark.parametrize("name", SAMPLED)
def test_race_inclusion_frequencies(name: str) -> None:
    """Against successive draws without replacement, one after another, by numpy's generator."""
    weights, n = SAMPLED[name]
    repeats = 20_000
    generator, p = np.random.default_rng(6), probabilities(weights)
    simulated = np.zeros((repeats, len(p)))
    left = np.tile(p, (repeats, 1))
    for _ in range(n):
        cumulative = left.cumsum(axis=1)
        point = generator.random(repeats) * cumulative[:, -1]
        row = np.minimum((cumulative <= point[:, None]).sum(axis=1), len(p) - 1)
        simulated[np.arange(repeats), row] = 1
        left[np.arange(repeats), row] = 0
    assert_means(inclusions(weights, n, "race", repeats) - simulated, np.zeros(len(p)))


def test_race_order_is_that_of_successive_draws() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    p = probabilities(weights)
    pairs = [isf.draw(weights, 2, "race", seed).index.tolist() for seed in range(20_000)]
    counts = np.bincount([4 * a + b for a, b in pairs], minlength=16)
    expected = [p[a] * p[b] / (1 - p[a]) if a != b else 0.0 for a in range(4) for b in range(4)]
    assert_frequencies(counts, np.array(expected))


@pytest.mark.parametrize("method", ["race", "pps"])
@pytest.mark.parametrize("name", SAMPLED)
def test_inverse_probabilities_count_the_rows(method: str, name: str) -> None:
    """Horvitz and Thompson: the sum of x / prob over the drawn rows estimates the sum of x."""
    weights, n = SAMPLED[name]
    x = torch.linspace(-1, 2, len(weights)).double() * (weights > 0)
    estimates = []
    for seed in range(20_000):
        drawn = isf.draw(weights, n, method, seed)
        inverse = 1 / drawn.prob.double()
        estimates.append([inverse.sum().item(), (x[drawn.index] * inverse).sum().item()])
    expected = [weights.count_nonzero().item(), x.sum().item()]
    assert_means(np.array(estimates), np.array(expected))


def test_the_chi_square_would_notice_a_bias() -> None:
    """It sees that every second row is drawn 2% too often."""
    weights = SHAPES["flat"].clone()
    weights[::2] *= 1.02
    counts = isf.draw(weights, 10**7, "multinomial", seed=7).index.bincount().numpy()
    with pytest.raises(AssertionError):
        assert_frequencies(counts, probabilities(SHAPES["flat"]))
