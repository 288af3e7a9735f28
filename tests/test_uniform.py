"""Uniform draws: different rows, each equally often."""

import torch
from scipy.stats import chi2

from impsamp_fast._uniform import fill, uniform_rows
from tests.goodness import FALSE_ALARM


def test_uniform_rows_are_different_rows():
    rows = uniform_rows(10, 10, 3, torch.device("cpu"))
    assert sorted(rows.tolist()) == list(range(10))
    assert uniform_rows(10, 3, 3, torch.device("cpu")).unique().numel() == 3


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
