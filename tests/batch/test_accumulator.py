"""The accumulator: how many rows it asks for, which pass, and when it fills up."""

import math

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.filters import Filter
from impsamp_fast.ops import RowStats, row_stats
from tests.batch.queues import ones, raw
from tests.goodness import FALSE_ALARM
from tests.toy import K


class TestAccumulator:
    def test_sizes_the_next_raw_batch_by_what_passed_lately(self):
        queue = ones(8)
        assert queue.raw_size == 8  # nothing is known yet
        queue(*raw(1, 0, 0, 0))
        assert queue.raw_size == 7 * 4
        queue(*raw(1, 1, 1, 1))  # now 5 of 8
        assert queue.raw_size == math.ceil(3 * 8 / 5)
        for _ in range(16):  # a while ago counts no more
            queue(*raw(1))
        assert queue.raw_size == 8 - queue.waiting

    def test_the_loop_of_the_docstring_asks_for_no_empty_raw_batch(self):
        accumulator = ones(2)
        raw_sizes, found = [], []
        for _ in range(8):
            batch = accumulator.pop()
            if batch is None:
                raw_sizes.append(accumulator.raw_size)
                batch = accumulator(*raw(*[1, 1, 1, 0, 1, 1]))
            if batch is not None:
                found.append(batch.index.tolist())
        assert min(raw_sizes) >= 1
        assert len(raw_sizes) < len(found) == 8
        assert found[:3] == [[0, 1], [2, 4], [5, 6]]

    def test_bounds_it(self):
        queue = ones(8)
        queue(*raw(*[0] * 100))
        assert queue.raw_size == 64
        assert ones(8, largest_raw_size=20).raw_size == 8
        queue = ones(8, largest_raw_size=20)
        queue(*raw(0, 0, 0))
        assert queue.raw_size == 20

    def test_is_filled_up_when_patience_is_over(self):
        queue = ones(4, patience=3, seed=1)
        assert queue(*raw(1, 0, 0, 0, 0)) is None
        assert queue(*raw(0, 0, 0, 0, 0)) is None
        batch = queue(*raw(0, 0, 1, 0, 0, 0, 0))
        rows = batch.index.tolist()
        assert rows[:2] == [0, 12]
        assert len(set(rows)) == 4
        assert set(rows[2:]) <= set(range(10, 17)) - {12}
        # It begins anew.
        assert queue(*raw(0, 0, 0, 0, 0)) is None
        assert queue(*raw(0, 0, 0, 0, 0)) is None
        assert queue(*raw(0, 0, 0, 0, 0)).index.numel() == 4

    def test_is_filled_with_each_row_equally_often(self):
        draws, picks = 4000, torch.zeros(8, dtype=torch.float64)
        for seed in range(draws):
            picks[ones(4, patience=1, seed=seed)(*raw(1, 0, 0, 0, 0, 0, 0, 0)).index] += 1
        assert picks[0] == draws
        p = 3 / 7
        deviation = ((picks[1:] - draws * p) ** 2 / (draws * p * (1 - p))).sum()
        # Without replacement: chi-squared with 6 degrees of freedom after scaling by 6 / 7.
        assert deviation * 6 / 7 < chi2.isf(FALSE_ALARM, 6)

    def test_waits_longer_if_even_that_is_too_few(self):
        queue = ones(4, patience=1)
        assert queue(*raw(0, 0)) is None
        assert sorted(queue(*raw(0, 0)).index.tolist()) == [0, 1, 2, 3]

    def test_never_keeps_ignored_rows(self):
        queue = ones(2, patience=1, ignore_index=1)
        assert queue(*raw(1, 1, 0)) is None
        assert queue(*raw(1, 1, 0)).index.tolist() == [2, 5]

    def test_ignores_nothing_if_told_so(self):
        queue = ones(2, ignore_index=None)
        assert queue(*raw(1, 1, 0)).index.tolist() == [0, 1]
        with pytest.raises(IndexError, match="is -100"):
            queue(*raw(-100, 1))

    def test_filters_by_the_loss_that_is_trained(self, model, data):
        x, y = data
        options = {"label_smoothing": 0.2, "class_weight": torch.tensor([1.0, 5.0, 0.5])}

        class Expected(Filter):
            def __call__(self, stats: RowStats, target: Tensor) -> Tensor:
                for found, expected in zip(stats, row_stats(model(x), y, **options), strict=True):
                    torch.testing.assert_close(found, expected)
                return stats.loss > 2

        queue = Accumulator(model, K, Expected(), **options)
        queue(x, y)
        assert queue.waiting == (row_stats(model(x), y, **options).loss > 2).sum()
