"""Filters: which rows pass, and how too few are filled up."""

import math

import pytest
import torch
from torch import Tensor

from impsamp_fast.batch.filters import AccuracyFilter, Filter, rows_that_pass
from impsamp_fast.ops import RowStats, row_stats
from tests.toy import C


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
        with pytest.raises(ValueError, match=r"alpha is .*a number with 0 <= alpha <= 1"):
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
