"""Shares of another strategy's time or steps, and the interval of their median."""

import math
from itertools import product
from statistics import median

import numpy as np
import pytest
from scipy import stats

from bench.report.results import Share, interval_of_median, share_of
from tests.bench import made_up

NEVER = math.inf


@pytest.mark.parametrize("size", [6, 9, 20])
def test_the_interval_is_scipys_percentile_bootstrap(size: int) -> None:
    values = np.random.default_rng(size).lognormal(size=size)
    expected = stats.bootstrap(
        (values,), np.median, n_resamples=9_999, method="percentile", rng=1
    ).confidence_interval
    low, high = interval_of_median(values.tolist())
    inside = np.sort(values)
    # Medians of resamples take few values: the ends may differ by one of them, of so many.
    steps = [np.searchsorted(inside, end) for end in (low, expected.low, high, expected.high)]
    assert abs(steps[0] - steps[1]) <= 1
    assert abs(steps[2] - steps[3]) <= 1


@pytest.mark.parametrize("values", [[0.5, 0.7, 0.9, 1.1, 1.3, NEVER], [1.0, 2.0, 4.0, 8.0, NEVER]])
def test_the_interval_is_that_of_all_resamples(values: list[float]) -> None:
    medians = sorted(median(resample) for resample in product(values, repeat=len(values)))
    tail = 0.025 * len(medians)
    expected = medians[math.ceil(tail) - 1], medians[-math.ceil(tail)]
    assert interval_of_median(values) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_the_interval_of_few_seeds_is_their_range(size: int) -> None:
    values = [1.0, 0.2, 3.0, 0.6, NEVER][:size]
    assert interval_of_median(values) == (min(values), max(values))


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ([0.5, 0.6], "too few seeds"),
        ([0.5, 0.6, 0.9], "better (3 seeds)"),
        ([0.5, 0.6, NEVER], "no difference (3 seeds)"),
        ([1.5, 1.6, 1.2, NEVER], "worse (4 seeds)"),
        ([NEVER] * 5, "worse (5 seeds)"),
        ([0.9, 0.8, 0.7, 0.6, 0.9, 1.1, 0.8, 0.9], "better"),
        ([1.1, 1.2, 1.3, 1.4, 1.1, NEVER], "worse"),
        ([0.9, 0.8, 0.7, 1.6, 1.9, 1.1], "no difference"),
    ],
)
def test_words_say_where_one_lies(shares: list[float], word: str) -> None:
    assert Share.of(shares).word == word


def test_any_strategy_may_be_compared_with_by_time_or_by_steps() -> None:
    results = made_up.paper_results()
    # To 0.62 kf18 takes 4 and 8 s and 40 steps, highest-loss 4 s and 40 steps, and never.
    assert share_of(results, "kf18", "highest-loss", 0.62) == Share(1, 1, 1, 1)
    other = share_of(results, "highest-loss", "kf18", 0.62)
    assert other == Share(NEVER, 1, NEVER, 2)
    by_steps = share_of(results, "kf18", "uniform", 0.62, "step")
    assert by_steps == Share(4 / 7, 4 / 7, 4 / 7, 2)
    assert share_of(results, "kf18", "highest-loss", 0.95) is None
