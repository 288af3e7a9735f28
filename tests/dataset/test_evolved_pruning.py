import numpy as np
import pytest
import torch

from impsamp_fast.dataset import EvolvedPruning
from tests.goodness import fits

SIZE = 40


def losses(seed: int) -> torch.Tensor:
    return 0.1 + torch.rand(SIZE, generator=torch.Generator().manual_seed(seed))


def known(*, told: int = 1, **arguments) -> EvolvedPruning:
    sampler = EvolvedPruning(SIZE, **{"epochs": 10**6, "seed": 1} | arguments)
    for seed in range(told):
        sampler.update(torch.arange(SIZE), losses=losses(seed))
    return sampler


def test_weights_and_averages_are_those_of_the_equation():
    sampler = known(told=4, beta1=0.3, beta2=0.8)
    first, *others = (losses(seed).double().numpy() for seed in range(4))
    average = score = first
    for loss in others:
        score = 0.3 * average + 0.7 * loss
        average = 0.8 * average + 0.2 * loss
    np.testing.assert_allclose(sampler._tables["score"], score, rtol=1e-5)
    np.testing.assert_allclose(sampler._tables["average"], average, rtol=1e-5)


@pytest.mark.parametrize(("ratio", "length"), [(0, 40), (0.29, 29), (0.5, 20), (0.99, 1)])
def test_an_epoch_is_a_share_of_different_samples(ratio, length):
    sampler = known(ratio=ratio)
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        assert len(sampler) == length
        epoch = list(sampler)
        assert len(set(epoch)) == len(epoch) == length
        assert torch.equal(sampler.weight(torch.tensor(epoch)), torch.ones(length))


def test_samples_are_drawn_by_their_weights():
    """One at a time, so that the frequencies are the probabilities."""
    sampler = known(told=2, ratio=1 - 1 / SIZE)
    counts = torch.zeros(SIZE, dtype=torch.int64)
    for epoch in range(1, 5001):
        sampler.set_epoch(epoch)
        counts[list(sampler)] += 1
    assert fits(counts, sampler._tables["score"])


def test_each_sample_is_at_each_place_equally_often():
    sampler = known(ratio=0.9)
    places = torch.zeros(4, dtype=torch.int64)
    for epoch in range(1, 4001):
        sampler.set_epoch(epoch)
        places += torch.tensor(list(sampler)) == int(losses(0).argmax())
    assert fits(places, torch.ones(4))


def test_the_first_and_the_last_epochs_are_of_all_samples():
    sampler = known(epochs=8, ratio=0.5)
    for epoch, length in ((0, 40), (1, 20), (6, 20), (7, 40), (8, 40)):
        sampler.set_epoch(epoch)
        assert len(sampler) == length
        assert len(set(sampler)) == length


def test_samples_without_a_weight_come_last():
    sampler = EvolvedPruning(SIZE, 10**6, ratio=0.5, seed=1)
    sampler.update(torch.arange(SIZE), losses=torch.where(torch.arange(SIZE) < 8, 1.0, 0.0))
    for epoch in range(1, 4):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert set(range(8)) < set(drawn)
        assert len(set(drawn)) == 20


def test_a_sample_that_was_never_seen_has_the_mean():
    sampler = EvolvedPruning(3, 10**6, ratio=0.6, seed=1)
    sampler.update(torch.tensor([0, 1]), losses=torch.tensor([1.0, 3.0]))
    counts = torch.zeros(3, dtype=torch.int64)
    for epoch in range(1, 3001):
        sampler.set_epoch(epoch)
        assert len(sampler) == 2
        missing = {0, 1, 2} - set(sampler)
        counts[list(missing)] += 1
    assert counts[0] > counts[2] > counts[1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"ratio": 1}, ValueError, "ratio is 1"),
        ({"beta1": -0.1}, ValueError, "beta1 is -0.1"),
        ({"beta2": "a"}, TypeError, "beta2 is 'a'"),
        ({"full_after": -1}, ValueError, "full_after is -1"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        EvolvedPruning(SIZE, **{"epochs": 5} | arguments)
