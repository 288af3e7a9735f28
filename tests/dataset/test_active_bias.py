import pytest
import torch

from impsamp_fast.dataset import ActiveBias
from tests.goodness import fits


def see(sampler: ActiveBias, index: list[int], p_true: list[float]) -> None:
    """A step in which the true class of these samples had these probabilities."""
    p = torch.tensor(p_true, dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()], 1)
    sampler.update(torch.tensor(index), logits, torch.zeros(len(index), dtype=torch.int64))


def seen(**arguments) -> ActiveBias:
    """Three samples: steady; 0.2, 0.4, 0.6 with the variance 0.04; and seen once only."""
    sampler = ActiveBias(3, **{"warm_up": 1, "seed": 1} | arguments)
    see(sampler, [0, 1, 2], [0.5, 0.2, 0.9])
    see(sampler, [0, 1], [0.5, 0.4])
    see(sampler, [0, 1], [0.5, 0.6])
    return sampler


DEVIATION = (0.04 + 0.04**2 / 2) ** 0.5


def test_weights_are_deviations_and_epsilon():
    expected = torch.tensor([0.1, DEVIATION + 0.1, 0.1])
    torch.testing.assert_close(seen(epsilon=0.1).sample_weights(1), expected)


def test_epsilon_is_the_mean_deviation_by_default():
    epsilon = DEVIATION / 3
    expected = torch.tensor([epsilon, DEVIATION + epsilon, epsilon])
    torch.testing.assert_close(seen().sample_weights(1), expected)


def test_without_a_deviation_draws_are_uniform():
    sampler = ActiveBias(4, warm_up=0, seed=1)
    counts = torch.zeros(4, dtype=torch.int64)
    for _ in range(2000):
        counts += torch.bincount(torch.tensor(list(sampler)), minlength=4)
    assert fits(counts, torch.ones(4))


def test_draws_have_the_probabilities_of_the_weights():
    sampler = seen(epsilon=0.1)
    sampler.set_epoch(1)
    counts = torch.zeros(3, dtype=torch.int64)
    for _ in range(5000):
        counts += torch.bincount(torch.tensor(list(sampler)), minlength=3)
    assert fits(counts, torch.tensor([0.1, DEVIATION + 0.1, 0.1]))


class TestWeights:
    def test_are_inverse_to_the_probabilities_with_mean_one(self):
        sampler = seen(epsilon=0.1, seed=3)
        sampler.set_epoch(1)
        drawn = torch.tensor(list(sampler))
        assert len(drawn.unique()) > 1
        inverse = 1 / sampler.sample_weights(1)[drawn]
        torch.testing.assert_close(sampler.weight(drawn), inverse / inverse.mean())

    def test_are_those_of_the_draw_whatever_is_learned_since(self):
        sampler = seen(epsilon=0.1)
        sampler.set_epoch(1)
        drawn = torch.tensor(list(sampler))
        before = sampler.weight(drawn)
        see(sampler, [0, 1, 2], [0.01, 0.99, 0.01])
        assert torch.equal(sampler.weight(drawn), before)

    def test_are_one_in_the_warm_up(self):
        sampler = seen()
        drawn = torch.tensor(list(sampler))
        assert torch.equal(sampler.weight(drawn), torch.ones(3))

    def test_are_one_without_a_correction(self):
        sampler = seen(correction="none")
        sampler.set_epoch(1)
        assert torch.equal(sampler.weight(torch.tensor(list(sampler))), torch.ones(3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epsilon": 0}, ValueError, "epsilon is 0, expected .* 0 < epsilon"),
        ({"epsilon": "small"}, TypeError, "epsilon is 'small', expected a number"),
        ({"correction": "unbiased"}, ValueError, "correction is 'unbiased', expected"),
        ({"warm_up": -1}, ValueError, "warm_up is -1"),
        ({"block": 2.0}, TypeError, "block is 2.0, expected an integer"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ActiveBias(10, **arguments)
