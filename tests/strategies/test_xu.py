"""The subset of the largest reward variance by name."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from impsamp_fast import strategies
from tests.strategies.test_strategies import ONES, P, X, Y


def best_subset(rewards: np.ndarray, n: int) -> set[int]:
    subsets = list(combinations(range(len(rewards)), n))
    return set(subsets[np.argmax([rewards[list(subset)].var() for subset in subsets])])


@pytest.mark.parametrize("n", [2, 3, 4])
def test_takes_the_probabilities_of_the_largest_variance(n):
    for seed in range(3):
        batch = strategies.make("pods", nn.Identity(), n, seed=seed)(X, Y)
        assert set(batch.index.tolist()) == best_subset(P, n)
        assert batch.weight.tolist() == ONES * n


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
def test_rewards_may_be_zero_or_negative(scale):
    rewards = scale * torch.tensor([0.0, -1.0, 0.5, 1.0, 0.0, 0.75])

    def reward(logits, y, index):
        return rewards[index]

    picker = strategies.make("pods", nn.Identity(), 3, reward=reward, seed=0)
    batch = picker(X, Y, torch.arange(6))
    assert set(batch.index.tolist()) == best_subset(rewards.double().numpy() / scale, 3)


def test_equal_rewards_are_no_fault():
    picker = strategies.make("pods", nn.Identity(), 3, reward=lambda logits, y: 0 * logits[:, 0])
    assert picker(X, Y).index.unique().numel() == 3


def test_a_reward_that_is_not_finite_is_named():
    def reward(logits, y):
        return torch.tensor([0.0, -1.0, torch.nan, 1.0, 0.0, 0.75])

    picker = strategies.make("pods", nn.Identity(), 3, reward=reward, seed=0)
    with pytest.raises(ValueError, match="score returned nan for row 2"):
        picker(X, Y)
    sound = strategies.make("pods", nn.Identity(), 3, reward=reward, on_fault="skip", seed=0)
    assert 2 not in sound(X, Y).index.tolist()


def test_a_row_without_a_probability_is_skipped():
    faulty = X.clone()
    faulty[2] = torch.nan
    picker = strategies.make("pods", nn.Identity(), 3, seed=0)
    with pytest.raises(ValueError, match=r"logits\[2, 0\] is nan"):
        picker(faulty, Y)
    sound = strategies.make("pods", nn.Identity(), 5, on_fault="skip", seed=0)
    assert sorted(sound(faulty, Y).index.tolist()) == [0, 1, 3, 4, 5]
    assert sound.faulty_rows == 1


def test_rows_without_a_target_are_left_out():
    y = torch.tensor([0, 0, 255, 0, 0, 0])
    picker = strategies.make("pods", nn.Identity(), 5, ignore_index=255, seed=0)
    assert set(picker(X, y).index.tolist()) == {0, 1, 3, 4, 5}
