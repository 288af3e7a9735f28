from itertools import chain, pairwise

import pytest
import torch

from impsamp_fast.dataset import RandomSubsets
from tests.goodness import fits

SIZE = 23


def epochs(sampler: RandomSubsets, count: int) -> list[list[int]]:
    return [list(sampler) for _ in range(count)]


@pytest.mark.parametrize(
    ("share", "length"), [(0.29, 6), (0.1, 2), (0.01, 1), (1, 23), (0.5, 11), (15 / 23, 15)]
)
def test_epochs_are_of_a_share_rounded_down(share, length):
    for independent in (False, True):
        sampler = RandomSubsets(SIZE, share=share, independent=independent, seed=0)
        assert len(sampler) == length
        for epoch in epochs(sampler, 3):
            assert len(epoch) == len(set(epoch)) == length


def test_no_sample_comes_again_before_a_shuffle_is_used_up():
    sampler = RandomSubsets(SIZE, share=0.29, seed=1)
    shuffles = []
    for _ in range(200):
        shuffle = list(chain.from_iterable(epochs(sampler, 3)))
        assert len(set(shuffle)) == 18
        shuffles.append(shuffle)
    assert shuffles[0] != shuffles[1]
    left_out = [[i for i in range(SIZE) if i not in shuffle] for shuffle in shuffles]
    assert len({tuple(rest) for rest in left_out}) > 150


def test_an_epoch_is_the_same_whichever_came_before():
    sampler, other = (RandomSubsets(SIZE, share=0.29, seed=1) for _ in range(2))
    expected = epochs(sampler, 8)
    for epoch in (7, 4, 5, 0):
        other.set_epoch(epoch)
        assert list(other) == expected[epoch]


@pytest.mark.parametrize("independent", [False, True])
def test_each_sample_is_at_each_place_equally_often(independent):
    sampler = RandomSubsets(SIZE, share=0.2, independent=independent, seed=1)
    first = torch.tensor([epoch[0] for epoch in epochs(sampler, 4000)])
    assert fits(first.bincount(minlength=SIZE), torch.ones(SIZE))


def test_independent_epochs_share_samples_by_chance():
    sampler = RandomSubsets(SIZE, share=0.5, independent=True, seed=1)
    drawn = epochs(sampler, 4000)
    shared = torch.tensor([len(set(a) & set(b)) for a, b in pairwise(drawn)])
    # Hypergeometric: 11 of 23, twice.
    assert abs(shared.double().mean() - 11 * 11 / 23) < 0.1
    parts = RandomSubsets(SIZE, share=0.5, seed=1)
    first, second = epochs(parts, 2)
    assert not set(first) & set(second)


def test_learns_nothing_and_weighs_nothing():
    sampler, untold = (RandomSubsets(SIZE, share=0.5, seed=1) for _ in range(2))
    for _ in range(3):
        index = torch.tensor(list(sampler))
        sampler.update(index, torch.rand(11, 3), index % 3)
        assert torch.equal(sampler.weight(index), torch.ones(11))
        assert list(untold) == index.tolist()
    with pytest.raises(TypeError, match="index is list"):
        sampler.update([0, 1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"share": 0}, ValueError, "share is 0, expected .* 0 < share <= 1"),
        ({"share": 1.1}, ValueError, "share is 1.1, expected"),
        ({"share": "a"}, TypeError, "share is 'a', expected a number"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        RandomSubsets(10, **arguments)
