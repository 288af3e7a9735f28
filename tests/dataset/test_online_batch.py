import math

import pytest
import torch

from impsamp_fast.dataset import OnlineBatchSelection
from tests.goodness import fits


def known(losses: list[float], **arguments) -> OnlineBatchSelection:
    sampler = OnlineBatchSelection(len(losses), **{"epochs": 5, "seed": 1} | arguments)
    sampler.update(torch.arange(len(losses)), losses=torch.tensor(losses))
    return sampler


def test_weights_fall_with_the_rank_of_the_loss():
    # exp(-r ln(16) / 4) = 2^-r, and the two equal losses share the ranks 2 and 3.
    sampler = known([0.1, 3.0, 0.5, 0.5], pressure=16)
    expected = torch.tensor([2**-4, 2**-1, 2**-2.5, 2**-2.5], dtype=torch.float64)
    torch.testing.assert_close(sampler.sample_weights(1), expected)


def test_ranks_are_those_of_any_losses():
    losses = [-3.0, -1e-30, 0.0, -0.0, 1e-40, 7.0, 3e38, -3.0]
    weights = known(losses, pressure=math.e**8).sample_weights(1)
    ranks = torch.tensor([7.5, 6, 4.5, 4.5, 3, 2, 1, 7.5], dtype=torch.float64)
    torch.testing.assert_close(-weights.log(), ranks)


def test_the_first_is_as_much_likelier_than_the_last_as_the_pressure_says():
    weights = known(torch.rand(1000).tolist(), pressure=100).sample_weights(1)
    assert weights.max() / weights.min() == pytest.approx(100, rel=0.01)


def test_the_pressure_falls_to_one():
    sampler = known([1.0, 2.0], pressure=16, epochs=5, warm_up=1)
    ratios = []
    for epoch in range(1, 7):
        low, high = sampler.sample_weights(epoch)
        ratios.append(float(high / low) ** 2)  # two neighbouring ranks of N = 2
    assert ratios == pytest.approx([16, 16 ** (2 / 3), 16 ** (1 / 3), 1, 1, 1])


def test_a_sample_without_a_loss_comes_first():
    sampler = OnlineBatchSelection(3, 5, pressure=8, seed=1)
    sampler.update(torch.tensor([0, 2]), losses=torch.tensor([9.0, 1.0]))
    expected = torch.tensor([2**-2, 2**-1, 2**-3], dtype=torch.float64)
    torch.testing.assert_close(sampler.sample_weights(1), expected)


def test_the_loss_defaults_to_the_cross_entropy():
    logits, target = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 0])
    by_logits = OnlineBatchSelection(2, 5, seed=1)
    by_logits.update(torch.arange(2), logits, target)
    assert by_logits.sample_weights(1)[1] > by_logits.sample_weights(1)[0]


def test_draws_have_the_probabilities_of_the_weights():
    size = 200
    # In so long a training the pressure stays what it is.
    sampler = known(torch.rand(size).tolist(), epochs=10**9)
    sampler.set_epoch(1)
    weights = sampler.sample_weights(1)
    counts = torch.zeros(size, dtype=torch.int64)
    for _ in range(300):
        counts += torch.bincount(torch.tensor(list(sampler)), minlength=size)
    assert fits(counts, weights)


def test_each_block_is_drawn_by_the_losses_of_its_time():
    sampler = known([1.0] + [0.0] * 9, epochs=3, pressure=1e9, block=5)
    sampler.set_epoch(1)
    picks = iter(sampler)
    first = [next(picks) for _ in range(5)]
    sampler.update(torch.tensor([0, 7]), losses=torch.tensor([0.0, 1.0]))
    second = list(picks)
    assert first.count(0) > 2
    assert second.count(7) > 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0, expected at least 1"),
        ({"epochs": 2.5}, TypeError, "epochs is 2.5, expected an integer"),
        ({"pressure": 0.5}, ValueError, r"pressure is 0.5, expected .* 1 <= pressure"),
        ({"pressure": math.inf}, ValueError, "pressure is inf"),
        ({"pressure": "high"}, TypeError, "pressure is 'high', expected a number"),
        ({"warm_up": -1}, ValueError, "warm_up is -1, expected at least 0"),
        ({"block": 0}, ValueError, "block is 0, expected at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        OnlineBatchSelection(10, **{"epochs": 5} | arguments)
