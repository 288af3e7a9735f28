"""How far training is: what was trained on, what is planned, and whether anything is learned."""

import warnings

import pytest
import torch

from impsamp_fast import InfoBatch, RandomSubsets, strategies
from tests.dataset.dataset_run import EPOCHS, SIZE, N, make, show, train
from tests.dataset.test_epochs import loader_of, run

pytestmark = pytest.mark.usefixtures("one_thread")


class TestTrained:
    @pytest.mark.parametrize("name", strategies.names("dataset"))
    def test_counts_what_update_was_told_of(self, name):
        sampler = make(name)
        assert sampler.trained == 0
        for step, batch in enumerate(sampler.batches(N)):
            assert sampler.trained == step * N
            show(sampler, 0, torch.tensor(batch))
        train(sampler, 1, 2, steps=3)
        assert sampler.trained == 3 * N
        sampler.set_epoch(5)
        assert sampler.trained == 0

    def test_is_the_position_for_a_loader_that_asks_ahead(self):
        whole, stopped, resumed = (InfoBatch(SIZE, EPOCHS, seed=0) for _ in range(3))
        expected = [run(whole, epoch, loader_of(whole)) for epoch in range(2)]
        batches = iter(loader_of(stopped, num_workers=2))
        before = run(stopped, 0, [next(batches) for _ in range(5)])
        resumed.load_state_dict(stopped.state_dict(position=stopped.trained))
        assert resumed.trained == 5 * N
        after = [run(resumed, epoch, loader_of(resumed)) for epoch in range(2)]
        assert [before + after[0], after[1]] == expected

    def test_short_of_the_position_is_told(self):
        sampler = InfoBatch(SIZE, EPOCHS, seed=0)
        batches = iter(sampler.batches(N))
        first, _ = next(batches), next(batches)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sampler.state_dict()
        show(sampler, 0, torch.tensor(first))
        with pytest.warns(UserWarning, match="32 indices .* update was told of 16"):
            assert sampler.state_dict()["position"] == 2 * N

    def test_counts_the_rows_of_all_ranks(self):
        sampler = InfoBatch(SIZE, EPOCHS, seed=0).shard(1, 3, alone=True)
        show(sampler, 0, torch.tensor(next(iter(sampler.batches(N)))))
        assert sampler.trained == 3 * N


class TestPlannedSteps:
    @pytest.mark.parametrize("drop_last", [False, True])
    def test_are_those_that_are_made(self, drop_last):
        sampler = InfoBatch(SIZE, EPOCHS, full_after=2 / 3, seed=0)
        made, planned = [], []
        for epoch in range(EPOCHS):
            sampler.set_epoch(epoch)
            planned.append(sampler.planned_steps(N, EPOCHS, drop_last=drop_last))
            for step, batch in enumerate(sampler.batches(N, drop_last)):
                if epoch == EPOCHS - 1:
                    left = sampler.planned_steps(N, EPOCHS, drop_last=drop_last)
                    assert left == planned[-1] - step
                show(sampler, epoch, torch.tensor(batch))
            made.append(step + 1)
        full = (SIZE + (0 if drop_last else N - 1)) // N
        assert planned[0] == EPOCHS * full
        # Of the epochs to come those from the fifth on are full, which is known from the beginning.
        assert planned[1] == made[1] + (made[1] * 2) + 2 * full
        assert planned[4:] == [2 * full, full]
        assert made[1] < full

    def test_are_those_of_one_rank(self):
        sampler = RandomSubsets(100, share=0.5, seed=0)
        assert sampler.planned_steps(10, 4) == 20
        assert sampler.shard(0, 3).planned_steps(10, 4) == 4
        assert sampler.planned_steps(10, 4, drop_last=False) == 8

    def test_need_samples_and_epochs(self):
        sampler = RandomSubsets(100)
        with pytest.raises(ValueError, match="batch_size is 0"):
            sampler.planned_steps(0, 1)
        with pytest.raises(TypeError, match=r"epochs is 1\.5"):
            sampler.planned_steps(1, 1.5)


class TestAnEpochWithoutUpdates:
    def test_is_told_once(self):
        sampler = InfoBatch(SIZE, EPOCHS)
        list(sampler)
        with pytest.warns(UserWarning, match="epoch of InfoBatch ended without an update"):
            list(sampler)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            list(sampler)

    @pytest.mark.parametrize("name", strategies.names("dataset"))
    def test_is_none_where_something_is_learned(self, name):
        sampler = make(name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train(sampler, 0, EPOCHS)

    def test_is_nothing_where_nothing_is_to_learn(self):
        sampler = RandomSubsets(SIZE)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                list(sampler)

    def test_is_none_behind_a_state_of_its_end(self):
        sampler, resumed = InfoBatch(SIZE, EPOCHS), InfoBatch(SIZE, EPOCHS)
        train(sampler, 0, 1)
        resumed.load_state_dict(sampler.state_dict())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train(resumed, 1, 2)
