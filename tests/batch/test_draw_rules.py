"""Draw rules: the rows and probabilities of each, and the weights made of them."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare
from torch import Tensor

from impsamp_fast.batch.draw_rules import (
    LossSplit,
    Method,
    TopQuantile,
    keep_each,
)
from impsamp_fast.ops import draw
from tests.methods import METHODS

FALSE_ALARM = 1e-6

scores_of_any_kind = st.lists(st.integers(0, 50), min_size=1, max_size=40).map(
    lambda values: torch.tensor(values, dtype=torch.float32)
)


class TestTopQuantile:
    @pytest.mark.parametrize(
        ("scores", "q", "expected"),
        [
            ([1.0, 5.0, 3.0, 4.0, 2.0], 0.5, [1, 3]),  # the median is 3
            ([1.0, 5.0, 3.0, 4.0, 2.0], 0.0, [1, 2, 3, 4]),  # all above the smallest
            ([1.0, 5.0, 3.0, 4.0], 0.5, [1, 3]),  # between 3 and 4
            ([1.0, 5.0, 3.0, 4.0], 0.99, [1]),
            ([2.0, 2.0, 2.0], 0.5, [0]),  # none is above: the first of the largest
            ([0.0, 3.0, 0.0, 2.0, 1.0], 0.5, [1]),  # zeros do not count: the median is 2
            ([0.0, 0.0], 0.5, [0]),
            ([7.0], 0.5, [0]),
        ],
    )
    def test_takes_the_rows_above(self, scores, q, expected):
        drawn = TopQuantile(q)(torch.tensor(scores), 1, seed=0)
        assert drawn.index.tolist() == expected
        assert drawn.index.dtype == torch.int64
        assert drawn.prob.tolist() == [1.0] * len(expected)

    @given(st.integers(2, 200), st.sampled_from([0.0, 0.25, 0.5, 0.75]), st.integers(0, 100))
    def test_takes_as_many_as_documented(self, K, q, seed):
        scores = 1 + torch.randperm(K, generator=torch.Generator().manual_seed(seed)).double()
        drawn = TopQuantile(q)(scores, 1, seed=0)
        assert drawn.index.numel() == math.ceil((1 - q) * (K - 1))
        assert (
            drawn.index.tolist() == np.nonzero(scores.numpy() > np.quantile(scores, q))[0].tolist()
        )

    @pytest.mark.parametrize("q", [-0.1, 1.0, math.nan])
    def test_wants_q_in_its_range(self, q):
        with pytest.raises(ValueError, match=r"q is .*, expected a number with 0 <= q < 1"):
            TopQuantile(q)

    def test_wants_a_number(self):
        with pytest.raises(TypeError, match="q is 'a', expected a number"):
            TopQuantile("a")


def part_of_each_row(scores: list[int], q: int, p: int) -> dict[int, Fraction]:
    """Where the cumulative sum of each row with a score ends, in parts: exact."""
    positive = sorted((score, i) for i, score in enumerate(scores) if score > 0)
    total = sum(Fraction(score) ** p for score, _ in positive)
    ends: dict[int, Fraction] = {}
    end = Fraction(0)
    for score, i in positive:
        end += Fraction(score) ** p
        ends[i] = q * end / total
    return ends


class TestLossSplit:
    # Squares 1, 4, 9, 16 of the sum 30: the first three end at 14, below half of it.
    SCORES = (2.0, 4.0, 1.0, 3.0)

    def test_takes_as_many_of_each_bucket(self):
        seen = set()
        for seed in range(50):
            drawn = LossSplit(q=2, p=2)(torch.tensor(self.SCORES), 2, seed)
            low, high = drawn.index.tolist()
            assert high == 1
            assert low in (0, 2, 3)
            assert drawn.prob.tolist() == pytest.approx([1 / 3, 1])
            seen.add(low)
        assert seen == {0, 2, 3}

    def test_takes_what_a_bucket_lacks_from_the_others(self):
        drawn = LossSplit(q=2, p=2)(torch.tensor(self.SCORES), 3, seed=0)
        assert sorted(drawn.index[:2].tolist()) in ([0, 2], [0, 3], [2, 3])
        assert drawn.index[2] == 1
        assert drawn.prob.tolist() == pytest.approx([2 / 3, 2 / 3, 1])

    def test_gives_odd_rows_to_the_largest_bucket(self):
        # Equal parts of 12 equal rows: 3 buckets of 4, and 8 rows are 2 + 3 + 3.
        drawn = LossSplit(q=3)(torch.ones(12), 8, seed=0)
        assert sorted(round(4 * p) for p in drawn.prob.tolist()) == [2, 2, 3, 3, 3, 3, 3, 3]

    def test_power_zero_makes_buckets_of_equal_number(self):
        scores = torch.tensor([100.0, 1, 2, 3, 4, 5])
        assert LossSplit(q=3, p=0)._buckets(scores).tolist() == [3, 1, 1, 2, 2, 3]

    @given(scores_of_any_kind, st.integers(1, 5), st.integers(0, 3))
    def test_cuts_where_the_definition_does(self, scores, q, p):
        ends = part_of_each_row([int(score) for score in scores], q, p)
        for i, bucket in enumerate(LossSplit(q, p)._buckets(scores).tolist()):
            if i not in ends:
                assert bucket == 0
            elif abs(ends[i] - round(ends[i])) > 1e-6:  # else rounding may decide
                assert bucket == math.ceil(ends[i])

    @pytest.mark.parametrize("value", [1.0, 0.7, 3e-5])
    def test_a_row_that_ends_at_a_cut_is_below_it(self, value):
        assert (
            LossSplit(q=3)._buckets(torch.full((9,), value)).tolist() == [1] * 3 + [2] * 3 + [3] * 3
        )

    @given(scores_of_any_kind, st.integers(1, 5), st.data())
    def test_shares_are_as_equal_as_the_buckets_allow(self, scores, q, data):
        n = data.draw(st.integers(1, len(scores)))
        rule = LossSplit(q)
        drawn = rule(scores, n, seed=data.draw(st.integers(0, 2**64 - 1)))
        assert drawn.index.unique().numel() == n
        rows = torch.bincount(rule._buckets(scores), minlength=q + 1)
        taken = torch.bincount(rule._buckets(scores)[drawn.index], minlength=q + 1)
        assert taken[0] == max(0, n - int(rows[1:].sum()))
        unfilled = taken[1:] < rows[1:]
        if unfilled.any():
            # A bucket that has rows left gave as many as any other, but for the odd rows.
            assert taken[1:][unfilled].min() >= taken[1:].max() - 1
        expected = (taken / rows.clamp(min=1))[rule._buckets(scores)[drawn.index]]
        torch.testing.assert_close(drawn.prob, expected)

    def test_takes_each_row_of_a_bucket_equally_often(self):
        scores = torch.linspace(1, 4, 30)
        rule, draws = LossSplit(q=3, p=2), 4000
        picks = torch.zeros(30)
        prob = torch.zeros(30)
        for seed in range(draws):
            drawn = rule(scores, 12, seed)
            picks[drawn.index] += 1
            prob[drawn.index] = drawn.prob
        bucket = rule._buckets(scores)
        for i in (1, 2, 3):
            rows = bucket == i
            R, p = int(rows.sum()), prob[rows][0].double()
            assert torch.equal(prob[rows], prob[rows][:1].expand(R))
            # Rows drawn without replacement are negatively correlated; scaled by (R - 1) / R the
            # sum is chi-squared with R - 1 degrees of freedom.
            deviation = ((picks[rows] - draws * p) ** 2 / (draws * p * (1 - p))).sum()
            assert deviation * (R - 1) / R < chi2.isf(FALSE_ALARM, R - 1)

    def test_takes_rows_of_score_zero_last(self):
        scores = torch.tensor([0.0, 2.0, 0.0, 1.0])
        assert set(LossSplit()(scores, 2, seed=1).index.tolist()) == {1, 3}
        assert {1, 3} < set(LossSplit()(scores, 3, seed=1).index.tolist())
        assert LossSplit()(torch.zeros(5), 5, seed=1).index.unique().numel() == 5

    @pytest.mark.parametrize("largest", [1e-38, 1e38])
    def test_powers_neither_overflow_nor_vanish(self, largest):
        scores = torch.tensor([0.25, 0.5, 0.75, 1.0]) * largest
        assert LossSplit()._buckets(scores).tolist() == [1, 1, 1, 2]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"q": 0}, ValueError, "q is 0, expected at least 1"),
            ({"q": 1.5}, TypeError, "q is 1.5, expected an integer"),
            ({"p": -1}, ValueError, "p is -1, expected a number with 0 <= p"),
            ({"p": math.inf}, ValueError, "p is inf, expected a number with 0 <= p"),
            ({"p": "2"}, TypeError, "p is '2', expected a number"),
        ],
    )
    def test_names_a_wrong_argument(self, arguments, error, message):
        with pytest.raises(error, match=message):
            LossSplit(**arguments)


@pytest.mark.parametrize("rule", [TopQuantile(0.5), LossSplit(), LossSplit(q=7, p=0.5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
class TestEveryRule:
    def test_is_decided_by_the_seed_alone(self, rule, dtype):
        scores = torch.rand(100, dtype=dtype)
        before = torch.get_rng_state()
        first, again = rule(scores, 20, seed=3), rule(scores, 20, seed=3)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(first.index, again.index)
        assert torch.equal(first.prob, again.prob)
        others = [rule(scores, 20, seed=seed).index for seed in range(4, 8)]
        same = [torch.equal(first.index, other) for other in others]
        assert same == [rule.kind == "deterministic"] * 4

    def test_keeps_the_dtype(self, rule, dtype):
        drawn = rule(torch.rand(100, dtype=dtype), 20, seed=3)
        assert (drawn.index.dtype, drawn.prob.dtype) == (torch.int64, dtype)


@pytest.mark.parametrize("method", METHODS)
class TestMethod:
    def test_is_that_of_draw(self, method):
        weights = torch.rand(50)
        found, expected = Method(method)(weights, 8, 5), draw(weights, 8, method, seed=5)
        assert torch.equal(found.index, expected.index)
        assert torch.equal(found.prob, expected.prob)


class TestKeepEach:
    def kept(self, prob: Tensor, draws: int) -> Tensor:
        return torch.stack([keep_each(prob, seed) for seed in range(draws)])

    def test_keeps_each_row_with_its_probability(self):
        prob = torch.rand(60, dtype=torch.float64)
        draws = 4000
        kept = self.kept(prob, draws).double().sum(0)
        deviation = (kept - draws * prob) ** 2 / (draws * prob * (1 - prob))
        assert deviation.sum() < chi2.isf(FALSE_ALARM, 60)

    def test_keeps_rows_independently(self):
        prob = torch.tensor([0.3, 0.6, 0.6, 0.2])
        draws = 20000
        pattern = self.kept(prob, draws).float() @ torch.tensor([8.0, 4, 2, 1])
        p = [
            math.prod(
                p if i >> (3 - row) & 1 else 1 - p for row, p in enumerate((0.3, 0.6, 0.6, 0.2))
            )
            for i in range(16)
        ]
        observed = np.bincount(pattern.int().numpy(), minlength=16)
        assert chisquare(observed, draws * np.array(p)).pvalue > FALSE_ALARM

    def test_keeps_all_and_none_where_it_must(self):
        prob = torch.tensor([0.0, 1.0, 0.5] * 1000)
        kept = keep_each(prob, seed=3).reshape(-1, 3)
        assert not kept[:, 0].any()
        assert kept[:, 1].all()
        assert 0 < kept[:, 2].sum() < 1000

    def test_is_decided_by_the_seed(self):
        prob = torch.rand(1000)
        before = torch.get_rng_state()
        assert torch.equal(keep_each(prob, 7), keep_each(prob, 7))
        assert not torch.equal(keep_each(prob, 7), keep_each(prob, 8))
        assert torch.equal(torch.get_rng_state(), before)
