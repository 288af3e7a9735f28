import pytest
import torch

from impsamp_fast.dataset import EpochAccuracyFilter
from tests.goodness import fits

# The probabilities of three classes, and their margins of class 0: 0.6, 0.1, 0, -0.2.
PROBABILITIES = torch.tensor([[0.8, 0.2, 0.0], [0.45, 0.35, 0.2], [0.4, 0.4, 0.2], [0.3, 0.2, 0.5]])


def trained(**arguments) -> EpochAccuracyFilter:
    sampler = EpochAccuracyFilter(5, **{"least": 1, "seed": 1} | arguments)
    target = torch.zeros(4, dtype=torch.int64)
    sampler.update(torch.arange(4), PROBABILITIES.log(), target)
    return sampler


@pytest.mark.parametrize(
    ("alpha", "kept"),
    [(0.0, [2, 3, 4]), (0.05, [2, 3, 4]), (0.2, [1, 2, 3, 4]), (1.0, [0, 1, 2, 3, 4])],
)
def test_keeps_the_wrong_the_hardly_right_and_the_unseen(alpha, kept):
    sampler = trained(alpha=alpha)
    sampler.set_epoch(1)
    assert len(sampler) == len(kept)
    assert sorted(sampler) == kept


def test_what_was_seen_last_counts():
    sampler = trained()
    target = torch.zeros(4, dtype=torch.int64)
    sampler.update(torch.tensor([3, 0, 2, 2]), PROBABILITIES[[0, 3, 3, 0]].log(), target)
    sampler.set_epoch(1)
    assert sorted(sampler) == [0, 4]


@pytest.mark.parametrize(
    ("full_every", "full"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4]), (3, [0, 3]), (None, [0])]
)
def test_some_epochs_are_of_all_samples(full_every, full):
    sampler = trained(full_every=full_every)
    for epoch in range(6):
        sampler.set_epoch(epoch)
        assert (len(list(sampler)) == 5) == (epoch in full)


def test_random_others_fill_up():
    sampler = trained(least=4, full_every=None)
    assert len(list(sampler)) == 5
    filled = torch.zeros(5, dtype=torch.int64)
    epochs = 2000
    for _ in range(epochs):
        epoch = torch.tensor(list(sampler))
        assert len(epoch.unique()) == 4
        filled += torch.bincount(epoch, minlength=5)
    assert filled[2:].tolist() == [epochs] * 3
    assert fits(filled[:2], torch.ones(2))


def test_least_is_at_most_all():
    sampler = trained(least=100)
    sampler.set_epoch(1)
    assert sorted(sampler) == list(range(5))


def test_has_each_sample_at_each_place_equally_often():
    sampler = trained(full_every=None)
    sampler.set_epoch(1)
    places = torch.zeros(3, dtype=torch.int64)
    for _ in range(3000):
        places += torch.tensor(list(sampler)) == 4
    assert fits(places, torch.ones(3))


def test_weights_are_one():
    assert torch.equal(trained().weight(torch.arange(5)), torch.ones(5))


def test_an_error_changes_nothing():
    sampler = trained()
    before = sampler.state_dict()["tables"]["passes"]
    target = torch.zeros(2, dtype=torch.int64)
    for index, logits, error, message in (
        (torch.tensor([0, 5]), torch.zeros(2, 3), IndexError, r"index\[1\] is 5, but there are 5"),
        (torch.tensor([0, 1]), torch.zeros(3, 3), ValueError, r"logits has shape \[3, 3\]"),
        (torch.tensor([0, 1]), torch.full((2, 3), torch.nan), ValueError, "logits"),
        (torch.tensor([0, 1]), None, ValueError, "logits is None, but is needed"),
        (torch.tensor([0, 1]), [1, 2], TypeError, "logits is list, expected a tensor"),
        ([0, 1], torch.zeros(2, 3), TypeError, "index is list, expected"),
        (torch.tensor([0.0, 1.0]), torch.zeros(2, 3), TypeError, "index is a tensor of torch"),
    ):
        with pytest.raises(error, match=message):
            sampler.update(index, logits, target)
    assert torch.equal(sampler.state_dict()["tables"]["passes"], before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": 1.5}, ValueError, "alpha is 1.5, expected"),
        ({"alpha": "soft"}, TypeError, "alpha is 'soft', expected a number"),
        ({"full_every": 0}, ValueError, "full_every is 0, expected at least 1"),
        ({"least": 0}, ValueError, "least is 0, expected at least 1"),
        ({"least": 1.5}, TypeError, "least is 1.5, expected an integer"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        EpochAccuracyFilter(10, **arguments)
