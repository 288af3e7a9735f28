"""What all samplers of the data set share; each method has a file of its own."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from impsamp_fast.ops import draw
from tests.dataset.own_samplers import SIZE, ByLoss, Ranges, seed_of
from tests.goodness import fits


class TestEpochs:
    def test_each_pass_is_the_next(self):
        sampler = ByLoss(warm_up=2)
        first, second = list(sampler), list(sampler)
        assert sorted(first) == sorted(second) == list(range(SIZE))
        assert first != second
        assert sampler.state_dict()["epoch"] == 1

    def test_are_the_same_however_one_comes_there(self):
        passes = ByLoss(warm_up=3)
        expected = [list(passes) for _ in range(3)]
        for epoch in (2, 0, 1, 1):
            passes.set_epoch(epoch)
            assert list(passes) == expected[epoch]

    def test_go_on_from_the_one_that_was_set(self):
        sampler = Ranges(100)
        sampler.set_epoch(3)
        assert list(sampler) == [30, 31, 32, 30, 31, 32, 30, 31]
        assert max(sampler) == 42

    def test_are_drawn_in_blocks_by_seeds_of_epoch_and_position(self):
        sampler = Ranges(100, seed=5)
        sampler.set_epoch(2)
        list(sampler)
        assert sampler.asked == [(2, left, seed_of(5, 2, 7 - left)) for left in (7, 4, 1)]

    def test_blocks_are_drawn_when_they_are_asked_for(self):
        sampler = Ranges(100)
        picks = iter(sampler)
        assert not hasattr(sampler, "asked")
        for _ in range(3):
            next(picks)
        assert len(sampler.asked) == 1
        next(picks)
        assert len(sampler.asked) == 2

    def test_begin_with_the_first_index(self):
        sampler = ByLoss(warm_up=9)
        expected = [list(ByLoss(warm_up=9))]
        iter(sampler)
        iter(sampler)
        assert list(sampler) == expected[0]

    def test_have_a_length(self):
        sampler = Ranges(100)
        assert len(sampler) == 5
        picks = iter(sampler)
        next(picks)
        assert len(sampler) == 5
        list(picks)
        assert len(sampler) == 6
        sampler.set_epoch(20)
        assert len(sampler) == 25
        assert len(list(sampler)) == 25

    def test_are_passed_one_at_a_time(self):
        sampler = ByLoss()
        old = iter(sampler)
        next(old)
        list(sampler)
        with pytest.raises(RuntimeError, match="one pass at a time"):
            next(old)

    def test_longer_than_what_becomes_ints_at_once(self):
        size = 200_001
        epoch = list(ByLoss(size))
        assert type(epoch[0]) is int
        assert sorted(epoch) == list(range(size))

    def test_are_whole_after_an_error_in_the_first_block(self):
        class Failing(Ranges):
            def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
                if not hasattr(self, "failed"):
                    self.failed = True
                    raise RuntimeError("not yet")
                return super().draw_block(epoch, wanted, seed)

        sampler = Failing(100)
        with pytest.raises(RuntimeError, match="not yet"):
            next(iter(sampler))
        assert len(list(sampler)) == 5

    def test_shuffles_have_each_sample_at_each_place_equally_often(self):
        sampler = ByLoss(5, warm_up=10**6)
        places = torch.zeros(5, dtype=torch.int64)
        for _ in range(4000):
            places += torch.tensor(list(sampler)) == 2
        assert fits(places, torch.ones(5))


class TestWeighted:
    def test_draws_what_draw_draws(self):
        sampler = ByLoss()
        losses = torch.rand(SIZE)
        sampler.update(torch.arange(SIZE), losses=losses)
        sampler.set_epoch(1)
        expected = draw(losses, SIZE, seed=seed_of(7, 1, 0)).index
        assert list(sampler) == expected.tolist()

    def test_blocks_follow_what_is_learned(self):
        sampler = ByLoss(block=4)
        sampler.set_epoch(1)
        picks = iter(sampler)
        for _ in range(4):
            next(picks)
        losses = torch.zeros(SIZE)
        losses[3] = 1
        sampler.update(torch.arange(SIZE), losses=losses)
        assert list(picks) == [3] * 6


class TestBatches:
    @pytest.mark.parametrize(("drop_last", "sizes"), [(True, [4, 4]), (False, [4, 4, 2])])
    def test_are_lists_of_the_epochs_indices(self, drop_last, sizes):
        batches = list(ByLoss().batches(4, drop_last))
        assert [len(batch) for batch in batches] == sizes
        assert [index for batch in batches for index in batch] == list(ByLoss())[: sum(sizes)]

    def test_have_a_length(self):
        assert len(ByLoss().batches(4)) == 2
        assert len(ByLoss().batches(4, drop_last=False)) == 3

    def test_are_drawn_when_they_are_asked_for(self):
        sampler = ByLoss(block=4)
        sampler.set_epoch(1)
        batches = iter(sampler.batches(4))
        next(batches)
        losses = torch.zeros(SIZE)
        losses[3] = 1
        sampler.update(torch.arange(SIZE), losses=losses)
        assert next(batches) == [3] * 4

    def test_that_drop_the_rest_end_the_epoch(self):
        sampler = ByLoss(warm_up=5)
        list(sampler.batches(4))
        resumed = ByLoss(warm_up=5)
        resumed.load_state_dict(sampler.state_dict())
        assert list(resumed) == list(sampler)

    @pytest.mark.parametrize(("n", "error"), [(0, ValueError), (2.5, TypeError)])
    def test_have_samples(self, n, error):
        with pytest.raises(error, match=f"n is {n}, expected"):
            ByLoss().batches(n)


class TestSeeds:
    def test_leave_all_random_states_alone(self):
        sampler = ByLoss(warm_up=1, block=3)
        states = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
        list(sampler)
        list(sampler)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1]
        assert np.array_equal(np.random.get_state()[1], states[2])

    def test_come_from_torch_where_none_is_given(self):
        torch.manual_seed(3)
        first, second = ByLoss(seed=None), ByLoss(seed=None)
        assert list(first) != list(second)
        torch.manual_seed(3)
        assert list(ByLoss(seed=None)) == list(ByLoss(seed=first.state_dict()["seed"]))

    def test_work_whatever_the_default_dtype_and_device(self):
        expected = [list(sampler) for sampler in [ByLoss()] * 2]
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        try:
            found = [list(sampler) for sampler in [ByLoss()] * 2]
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_default_device(None)
        assert found == expected


class TestMean:
    def test_is_differentiable_and_weighted(self):
        losses = torch.rand(4, requires_grad=True)
        ByLoss().mean(losses, torch.tensor([1, 1, 2, 3])).backward()
        assert torch.equal(losses.grad, torch.full((4,), 0.25))

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
    def test_takes_any_floating_dtype(self, dtype):
        index = torch.arange(4, dtype=torch.int32)
        mean = ByLoss().mean(torch.ones(4, dtype=dtype), index)
        assert mean.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)

    @pytest.mark.parametrize(
        ("losses", "index", "error", "message"),
        [
            (torch.ones(3), torch.arange(4), ValueError, r"losses has shape \[3\], expected \[4\]"),
            (1.0, torch.arange(4), TypeError, "losses is float, expected a floating-point tensor"),
            (torch.tensor(1.0), torch.arange(4), ValueError, 'reduction="none"'),
            (torch.ones(2), torch.tensor([0, 10]), IndexError, r"index\[1\] is 10"),
            (torch.ones(2), torch.tensor([0, -1]), IndexError, r"index\[1\] is -1"),
            (
                torch.ones(2),
                torch.ones(2),
                TypeError,
                "index is a tensor of torch.f",
            ),
            (torch.ones(2), [0, 1], TypeError, "index is list, expected"),
            (torch.ones(2, 1), torch.zeros(2, 1).long(), ValueError, "index has shape"),
        ],
    )
    def test_needs_a_loss_for_each_index(self, losses, index, error, message):
        with pytest.raises(error, match=message):
            ByLoss().mean(losses, index)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"size": 0}, ValueError, "size is 0, expected at least 1"),
            ({"size": 2.5}, TypeError, "size is 2.5, expected an integer"),
            ({"seed": "1"}, TypeError, "seed is '1', expected an integer or None"),
            ({"seed": 2**64}, ValueError, f"seed is {2**64}, expected"),
        ],
    )
    def test_of_the_constructor(self, arguments, error, message):
        with pytest.raises(error, match=message):
            Ranges(**{"size": 5} | arguments)

    @pytest.mark.parametrize(("epoch", "error"), [(-1, ValueError), (1.5, TypeError)])
    def test_of_set_epoch(self, epoch, error):
        with pytest.raises(error, match=f"epoch is {epoch}, expected"):
            ByLoss().set_epoch(epoch)

    def test_a_sampler_without_memory_or_update(self):
        with pytest.raises(NotImplementedError, match="Ranges has neither a memory nor an update"):
            Ranges(5).update(torch.tensor([0]))
