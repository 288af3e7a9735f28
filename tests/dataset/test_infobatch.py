import math

import pytest
import torch

from impsamp_fast.dataset import InfoBatch, RandomPruning
from tests.goodness import fits


def known(kind, losses: list[float], **arguments):
    sampler = kind(len(losses), **{"epochs": 10**6, "seed": 1} | arguments)
    sampler.update(torch.arange(len(losses)), losses=torch.tensor(losses))
    return sampler


# Their mean is 4, and the first four are below it.
LOSSES = [1.0, 3.5, 2.0, 3.0, 4.0, 4.5, 10.0]
EASY = {0, 1, 2, 3}


class TestInfoBatch:
    def test_leaves_out_a_share_of_those_below_the_mean(self):
        sampler = known(InfoBatch, LOSSES, ratio=0.5)
        assert len(sampler) == 5
        epoch = list(sampler)
        assert len(set(epoch)) == len(epoch) == 5
        assert {4, 5, 6} < set(epoch)

    def test_weights_make_up_for_it(self):
        sampler = known(InfoBatch, LOSSES, ratio=0.5)
        epoch = torch.tensor(list(sampler))
        expected = torch.tensor([2.0 if int(i) in EASY else 1.0 for i in epoch])
        assert torch.equal(sampler.weight(epoch), expected)
        assert sampler.weight(epoch).sum() == len(LOSSES)
        losses = torch.arange(5.0)
        assert sampler.mean(losses, epoch) == (losses * expected).mean()

    @pytest.mark.parametrize(
        ("ratio", "left_out"), [(0, 0), (0.2, 0), (0.3, 1), (0.74, 2), (0.75, 3)]
    )
    def test_leaves_out_whole_samples(self, ratio, left_out):
        sampler = known(InfoBatch, LOSSES, ratio=ratio)
        assert len(list(sampler)) == len(LOSSES) - left_out

    @pytest.mark.parametrize(("ratio", "left_out"), [(0.29, 29), (0.57, 57), (0.58, 58)])
    def test_leaves_out_as_many_as_the_decimal_ratio_says(self, ratio, left_out):
        sampler = known(InfoBatch, [0.0] * 100 + [1.0] * 50, ratio=ratio)
        assert math.floor(ratio * 100) == left_out - 1
        assert len(sampler) == 150 - left_out

    def test_leaves_out_each_of_them_equally_often(self):
        sampler = known(InfoBatch, LOSSES, ratio=0.25)
        kept = torch.zeros(len(LOSSES), dtype=torch.int64)
        epochs = 4000
        for _ in range(epochs):
            kept += torch.bincount(torch.tensor(list(sampler)), minlength=len(LOSSES))
        assert fits(epochs - kept, torch.tensor([1, 1, 1, 1, 0, 0, 0]))

    @pytest.mark.parametrize("sample", [0, 6])
    def test_has_each_sample_at_each_place_equally_often(self, sample):
        sampler = known(InfoBatch, LOSSES, ratio=0.5)
        places = torch.zeros(5, dtype=torch.int64)
        for _ in range(4000):
            places += torch.tensor(list(sampler)) == sample
        assert fits(places, torch.ones(5))

    def test_the_weighted_sum_estimates_that_over_all_samples(self):
        losses = torch.tensor(LOSSES)
        sampler = known(InfoBatch, LOSSES, ratio=0.5)
        sums = []
        for _ in range(2000):
            epoch = torch.tensor(list(sampler))
            sums.append((losses[epoch] * sampler.weight(epoch)).sum().double())
        sums = torch.stack(sums)
        # Five standard errors: a false alarm once in two million, if the seeds were not fixed.
        assert (sums.mean() - losses.sum()).abs() < 5 * sums.std() / len(sums) ** 0.5

    def test_keeps_samples_without_a_loss(self):
        sampler = InfoBatch(5, 8, seed=1)
        assert sorted(sampler) == list(range(5))
        sampler.update(torch.tensor([0, 1, 2]), losses=torch.tensor([1.0, 1.0, 7.0]))
        epoch = set(sampler)
        assert len(epoch) == 4
        assert {2, 3, 4} < epoch

    def test_keeps_all_where_all_losses_are_equal(self):
        sampler = known(InfoBatch, [0.1] * 1001)
        assert len(sampler) == 1001

    def test_is_of_all_samples_in_the_last_epochs(self):
        sampler = known(InfoBatch, LOSSES, epochs=8, full_after=0.875)
        for epoch, length in ((6, 5), (7, 7), (8, 7)):
            sampler.set_epoch(epoch)
            assert len(sampler) == length
            drawn = torch.tensor(list(sampler))
            assert len(drawn) == length
        assert torch.equal(sampler.weight(drawn), torch.ones(7))

    def test_weights_stay_those_of_the_epoch(self):
        sampler = known(InfoBatch, LOSSES)
        epoch = torch.tensor(list(sampler))
        before = sampler.weight(epoch)
        sampler.update(torch.arange(7), losses=torch.tensor(LOSSES).flip(0))
        assert torch.equal(sampler.weight(epoch), before)


class TestRandomPruning:
    def test_leaves_out_as_many_of_any_samples(self):
        sampler = known(RandomPruning, LOSSES, ratio=0.5)
        assert len(sampler) == 5
        kept = torch.zeros(len(LOSSES), dtype=torch.int64)
        epochs = 4000
        for _ in range(epochs):
            epoch = torch.tensor(list(sampler))
            assert len(epoch.unique()) == 5
            kept += torch.bincount(epoch, minlength=len(LOSSES))
        # Two of seven without replacement are negatively correlated: independent draws vary more.
        assert fits(epochs - kept, torch.ones(7))
        assert torch.equal(sampler.weight(epoch), torch.ones(5))

    def test_is_of_all_samples_in_the_last_epochs(self):
        sampler = known(RandomPruning, LOSSES, epochs=8)
        sampler.set_epoch(7)
        assert sorted(sampler) == list(range(7))


@pytest.mark.parametrize("kind", [InfoBatch, RandomPruning])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0, expected at least 1"),
        ({"ratio": 1}, ValueError, "ratio is 1, expected .* 0 <= ratio < 1"),
        ({"ratio": -0.1}, ValueError, "ratio is -0.1, expected"),
        ({"ratio": None}, TypeError, "ratio is None, expected a number"),
        ({"full_after": math.nan}, ValueError, "full_after is nan, expected"),
    ],
)
def test_bad_arguments_are_named(kind, arguments, error, message):
    with pytest.raises(error, match=message):
        kind(10, **{"epochs": 5} | arguments)
