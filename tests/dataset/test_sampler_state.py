"""A sampler goes on from a saved state, in the middle of an epoch too."""

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from impsamp_fast.dataset import Bandit, WithIndex
from tests.dataset.own_samplers import SIZE, ByLoss
from tests.elsewhere import Elsewhere


class TestState:
    @pytest.mark.parametrize("stop", [0, 1, 4, 5, 9, 10])
    def test_goes_on_where_it_was(self, stop):
        whole, saved, resumed = (ByLoss(block=4, seed=seed) for seed in (7, 7, 8))
        for sampler in (whole, saved):
            sampler.update(torch.arange(SIZE), losses=torch.rand(SIZE))
            sampler.set_epoch(1)
        saved.load_state_dict(whole.state_dict())
        expected = [list(whole), list(whole)]
        saved.set_epoch(1)
        picks = iter(saved)
        first = [next(picks) for _ in range(stop)]
        resumed.load_state_dict(saved.state_dict())
        if stop < SIZE:
            resumed.set_epoch(1)  # as a training loop that goes on in this epoch does
            assert first + list(resumed) == expected[0]
        assert list(resumed) == expected[1]

    def test_from_another_device_comes_to_the_cpu(self):
        saved, resumed = Bandit(SIZE, seed=7), Bandit(SIZE, seed=8)
        saved.update(torch.arange(SIZE), torch.randn(SIZE, 3), torch.zeros(SIZE).long())
        picks = list(saved)
        state = saved.state_dict()
        there = {name: Elsewhere(table) for name, table in state["tables"].items()}
        resumed.load_state_dict(state | {"tables": there})
        index = torch.tensor(picks)
        assert resumed.weight(index).device.type == "cpu"
        assert torch.equal(resumed.weight(index), saved.weight(index))
        assert all(type(table) is Tensor for table in resumed.state_dict()["tables"].values())
        assert list(resumed) == list(saved)

    def test_of_an_earlier_position_goes_on_with_what_was_drawn_ahead(self):
        sampler = ByLoss(block=4)
        sampler.set_epoch(1)
        picks = iter(sampler)
        ahead = [next(picks) for _ in range(6)]
        state = sampler.state_dict(position=2)
        # The block of 6 and 7 was drawn before this, and so it stays.
        rest = ahead[2:] + [next(picks) for _ in range(2)]
        losses = torch.zeros(SIZE)
        losses[3] = 1
        resumed = ByLoss(block=4)
        resumed.load_state_dict(state)
        resumed.update(torch.arange(SIZE), losses=losses)
        assert list(resumed) == [*rest, 3, 3]

    def test_of_a_loader_that_asks_ahead(self):
        sampler = ByLoss(100)
        data = WithIndex(TensorDataset(torch.arange(100)))
        loader = iter(DataLoader(data, batch_size=10, sampler=sampler, num_workers=2))
        expected = list(ByLoss(100))
        trained = [next(loader)[1] for _ in range(3)]
        assert torch.cat(trained).tolist() == expected[:30]
        state = sampler.state_dict(position=30)
        assert sampler.state_dict()["position"] > 30
        resumed = ByLoss(100)
        resumed.load_state_dict(state)
        assert list(resumed) == expected[30:]

    def test_another_epoch_that_is_set_begins_anew(self):
        sampler, resumed = ByLoss(warm_up=9), ByLoss(warm_up=9)
        next(iter(sampler))
        resumed.load_state_dict(sampler.state_dict())
        resumed.set_epoch(1)
        assert sorted(resumed) == list(range(SIZE))

    def test_is_a_copy(self):
        sampler = ByLoss()
        picks = iter(sampler)
        next(picks)
        state = sampler.state_dict()
        drawn = state["drawn"].clone()
        list(picks)
        list(sampler)
        sampler.update(torch.arange(SIZE), losses=torch.ones(SIZE))
        assert torch.equal(state["drawn"], drawn)
        assert state["memory"]["loss"].isnan().all()

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (
                {"sampler": "Bandit"},
                ValueError,
                "the state's sampler is 'Bandit', this .* 'ByLoss'",
            ),
            ({"size": 11}, ValueError, "the state's size is 11, this sampler's is 10"),
            ({"seed": 1.5}, TypeError, "the state's seed is 1.5, expected an int"),
            ({"epoch": None}, TypeError, "the state's epoch is None, expected an int"),
            ({"epoch": -1}, ValueError, "the state's epoch is -1, expected at least 0"),
            ({"position": "2"}, TypeError, "the state's position is '2', expected an int"),
            ({"position": -1}, ValueError, "position -1 and 7 indices drawn ahead"),
            ({"position": 4}, ValueError, "position 4 and 7 indices .* an epoch of 10"),
            ({"length": None}, TypeError, "the state's length is None, expected an int"),
            ({"drawn": torch.tensor([10])}, IndexError, r"index\[0\] is 10, but there are 10"),
            ({"drawn": [1, 2]}, TypeError, "index is list"),
            ({"tables": {"weight": torch.ones(10)}}, KeyError, "the state's tables are"),
            ({"memory": {}}, KeyError, "expected"),
            ({"more": 1}, KeyError, "the state has the keys"),
        ],
    )
    def test_that_does_not_fit_changes_nothing(self, change, error, message):
        saved, sampler = ByLoss(), ByLoss()
        for position, one in enumerate((saved, sampler)):
            one.update(torch.tensor([position]), losses=torch.tensor([2.0]))
            picks = iter(one)
            for _ in range(3 + position):
                next(picks)
        rest = list(picks)
        sampler.load_state_dict(sampler.state_dict(position=4))
        with pytest.raises(error, match=message):
            sampler.load_state_dict(saved.state_dict() | change)
        assert sampler.memory.loss[1] == 2
        assert list(sampler) == rest

    @pytest.mark.parametrize(
        ("position", "error", "message"),
        [
            (4, ValueError, "position is 4, but only 3 indices of this epoch were handed out"),
            (-1, ValueError, "position is -1, expected at least 0"),
            (1.5, TypeError, "position is 1.5, expected an integer"),
        ],
    )
    def test_needs_a_position_that_was_handed_out(self, position, error, message):
        sampler = ByLoss()
        picks = iter(sampler)
        for _ in range(3):
            next(picks)
        with pytest.raises(error, match=message):
            sampler.state_dict(position)
