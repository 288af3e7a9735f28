"""Filters: which rows pass, and how too few are filled up."""

import math

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from impsamp_fast.batch.filters import AccuracyFilter, Filter, fill, rows_that_pass
from impsamp_fast.ops import RowStats, row_stats
from tests.toy import C

FALSE_ALARM = 1e-6


def logits_of(probabilities: list[list[float]]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


class TestAccuracyFilter:
    #          right by 0.6, wrong,          right by 0.1,    a tie,            wrong by 0.02
    LOGITS = logits_of(
        [[0.8, 0.2, 0.0], [0.1, 0.7, 0.2], [0.1, 0.4, 0.5], [0.4, 0.4, 0.2], [0.31, 0.33, 0.36]]
    )
    Y = torch.tensor([0, 0, 2, 1, 1])

    def passes(self, filter: AccuracyFilter) -> list[bool]:
        return filter(row_stats(self.LOGITS, self.Y), self.Y).tolist()

    def test_hard(self):
        assert self.passes(AccuracyFilter()) == [False, True, False, True, True]

    @pytest.mark.parametrize(
        ("alpha", "right_by_a_tenth", "right_by_much"),
        [(0.05, False, False), (0.11, True, False), (0.59, True, False), (0.61, True, True)],
    )
    def test_soft(self, alpha, right_by_a_tenth, right_by_much):
        expected = [right_by_much, True, right_by_a_tenth, True, True]
        assert self.passes(AccuracyFilter(alpha)) == expected

    @pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
    def test_is_as_by_definition(self, alpha):
        logits, y = torch.randn(2000, C), torch.randint(C, (2000,))
        p = logits.double().softmax(-1)
        highest = p.topk(2).values
        close = highest[:, 0] - highest[:, 1] <= alpha
        expected = (p.argmax(-1) != y) | close
        assert torch.equal(AccuracyFilter(alpha)(row_stats(logits, y), y), expected)

    def test_takes_the_most_probable_class_of_probabilities(self):
        y = torch.softmax(4 * torch.randn(500, C), -1)
        logits = torch.randn(500, C)
        expected = logits.argmax(-1) != y.argmax(-1)
        assert torch.equal(AccuracyFilter()(row_stats(logits, y), y), expected)

    @pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
    def test_wants_alpha_in_its_range(self, alpha):
        with pytest.raises(ValueError, match=r"alpha is .*, expected 0 <= alpha <= 1"):
            AccuracyFilter(alpha)

    def test_wants_a_number(self):
        with pytest.raises(TypeError, match="alpha is None, expected a number"):
            AccuracyFilter(None)

    def test_stores_its_argument(self):
        assert AccuracyFilter(0.25).alpha == 0.25


class Returns(Filter):
    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self, stats: RowStats, y: Tensor) -> Tensor:
        return self.value


class TestRowsThatPass:
    STATS = row_stats(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    Y = torch.zeros(4, dtype=torch.int64)

    def test_ignored_rows_are_in_neither(self):
        mask = torch.tensor([True, False, True, False])
        ignored = torch.tensor([True, True, False, False])
        passing, others = rows_that_pass(Returns(mask), self.STATS, self.Y, ignored)
        assert (passing.tolist(), others.tolist()) == ([2], [3])
        passing, others = rows_that_pass(Returns(mask), self.STATS, self.Y, None)
        assert (passing.tolist(), others.tolist()) == ([0, 2], [1, 3])

    @pytest.mark.parametrize(
        ("value", "error", "message"),
        [
            ([True] * 4, TypeError, "Returns returned list, expected a tensor"),
            (torch.ones(4), TypeError, "Returns returned a tensor of torch.float32"),
            (torch.ones(3) > 0, ValueError, r"Returns returned shape \[3\], expected \[4\]"),
        ],
    )
    def test_names_a_filter_that_returns_something_else(self, value, error, message):
        with pytest.raises(error, match=message):
            rows_that_pass(Returns(value), self.STATS, self.Y, None)


class TestFill:
    PASSING, OTHERS = torch.tensor([1, 5]), torch.tensor([0, 2, 3, 4, 6, 7])

    def test_leaves_enough_rows_alone(self):
        for n in (1, 2):
            assert fill(self.PASSING, self.OTHERS, n, seed=0) is self.PASSING

    def test_puts_different_others_after_them(self):
        rows = fill(self.PASSING, self.OTHERS, 5, seed=0).tolist()
        assert rows[:2] == [1, 5]
        assert len(set(rows[2:])) == 3
        assert set(rows[2:]) <= set(self.OTHERS.tolist())

    def test_takes_no_more_than_there_are(self):
        assert sorted(fill(self.PASSING, self.OTHERS, 20, seed=0).tolist()) == list(range(8))

    def test_takes_each_of_the_others_equally_often(self):
        draws, p = 4000, 0.5
        picks = torch.zeros(8, dtype=torch.float64)
        for seed in range(draws):
            picks[fill(self.PASSING, self.OTHERS, 5, seed)] += 1
        deviation = ((picks[self.OTHERS] - draws * p) ** 2 / (draws * p * (1 - p))).sum()
        # Without replacement: chi-squared with 5 degrees of freedom after scaling by 5 / 6.
        assert deviation * 5 / 6 < chi2.isf(FALSE_ALARM, 5)
