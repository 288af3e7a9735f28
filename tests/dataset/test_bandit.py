import math

import pytest
import torch
from torch import Tensor

from impsamp_fast.dataset import Bandit
from impsamp_fast.dataset._projection import projected
from tests.goodness import fits


def learn(sampler: Bandit, index: list[int], grad_norm: list[float]) -> None:
    """A step in which these samples had these gradient norms, each less than sqrt(2)."""
    # Of two classes the norm is sqrt(2) (1 - p_true).
    wrong = torch.tensor(grad_norm, dtype=torch.float64) / 2**0.5
    logits = torch.stack([(1 - wrong).log(), wrong.log()], 1)
    sampler.update(torch.tensor(index), logits, torch.zeros(len(index), dtype=torch.int64))


class TestUpdates:
    def test_are_exponential_in_the_squared_norm(self):
        sampler = Bandit(4, rate=math.log(2), floor=0.5, seed=1)
        learn(sampler, [0], [1.0])
        # w = (2, 1, 1, 1), c = 4 / 5.
        torch.testing.assert_close(sampler.sample_weights(0), torch.tensor([1.6, 0.8, 0.8, 0.8]))

    def test_are_projected_onto_the_floor(self):
        sampler = Bandit(4, rate=math.log(9), floor=0.5, seed=1)
        learn(sampler, [0], [1.0])
        # w = (9, 1, 1, 1); three are held at the floor, and 4 - 1.5 is left.
        torch.testing.assert_close(sampler.sample_weights(0), torch.tensor([2.5, 0.5, 0.5, 0.5]))

    def test_go_on_from_the_projection_by_the_probability_of_the_draw(self):
        sampler = Bandit(4, rate=math.log(9), floor=0.5, seed=3)
        learn(sampler, [0], [1.0])
        drawn = list(sampler)
        assert {0, 2} <= set(drawn)
        learn(sampler, [0, 2], [0.5, 0.2])
        w = torch.tensor([2.5, 0.5, 0.5, 0.5])
        w[0] *= 9 ** (0.25 / 2.5**3)
        w[2] *= 9 ** (0.04 / 0.5**3)
        # The two that were not seen go below the floor, so that 4 - 1 is left for the other two.
        expected = torch.tensor([w[0], 0, w[2], 0]) * 3 / (w[0] + w[2])
        expected[[1, 3]] = 0.5
        torch.testing.assert_close(sampler.sample_weights(0), expected)

    def test_of_a_sample_that_is_there_twice_count_twice(self):
        sampler = Bandit(4, rate=math.log(3), floor=0.5, seed=1)
        learn(sampler, [0, 0], [1.0, 1.0])
        torch.testing.assert_close(sampler.sample_weights(0), torch.tensor([2.5, 0.5, 0.5, 0.5]))

    def test_rest_where_the_probability_is_proportional_to_the_norm(self):
        norms = torch.tensor([0.4, 0.6, 0.8, 1.0, 1.2, 0.5, 0.7, 0.9])
        sampler = Bandit(8, rate=0.02, floor=0.3, seed=1)
        mean = torch.zeros(8)
        for epoch in range(2000):
            for batch in sampler.batches(2):
                learn(sampler, batch, norms[batch].tolist())
            if epoch >= 1000:
                mean += sampler.sample_weights(epoch) / 1000
        torch.testing.assert_close(mean, norms / norms.mean(), rtol=0.05, atol=0)

    def test_of_the_largest_rate_leave_weights_finite(self):
        sampler = Bandit(64, rate=1e30, seed=1)
        for batch in sampler.batches(4):
            learn(sampler, batch, torch.rand(4).tolist())
            weights = sampler.sample_weights(0)
            assert weights.isfinite().all()
            assert weights.mean().item() == pytest.approx(1, abs=1e-5)


class TestProjection:
    @pytest.mark.parametrize("scale", [1e-6, 0.5, 1.0, 2.0, 1e6])
    @pytest.mark.parametrize("floor", [1e-3, 0.5, 0.999])
    def test_has_mean_one_and_keeps_ratios_above_the_floor(self, floor, scale):
        weight = torch.rand(1000).pow(8) + 1e-12
        found = projected(weight, floor, scale)
        assert found.min() >= floor
        assert found.mean().item() == pytest.approx(1, abs=1e-6)
        above = found > floor
        ratio = found[above] / weight[above]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
        assert (weight[~above] * ratio[0] <= floor * (1 + 1e-6)).all()

    def test_ends_where_a_weight_reaches_the_floor_exactly(self):
        weight = torch.tensor([0.05, 0.1, 0.6, 3.0], dtype=torch.float64)
        expected = torch.tensor([0.5, 0.5, 0.5, 2.5], dtype=torch.float64)
        torch.testing.assert_close(projected(weight, 0.5), expected)

    def test_of_equal_weights_is_one(self):
        for scale in (1e-9, 1.0, 1e9):
            torch.testing.assert_close(projected(torch.full((7,), 0.3), 0.9, scale), torch.ones(7))

    def test_minimizes_the_kullback_leibler_divergence(self):
        weight = torch.tensor([0.05, 0.1, 0.6, 3.0], dtype=torch.float64)
        found = projected(weight, 0.5)

        def divergence(q: Tensor) -> Tensor:
            return (q * (q / weight).log()).sum()

        for _ in range(200):
            other = 0.5 + torch.distributions.Dirichlet(torch.ones(4)).sample().double() * 2
            assert divergence(found) <= divergence(other) + 1e-9


def test_draws_have_the_probabilities_of_the_weights():
    sampler = Bandit(4, rate=math.log(9), floor=0.5, seed=1)
    learn(sampler, [0], [1.0])
    counts = torch.zeros(4, dtype=torch.int64)
    for _ in range(4000):
        counts += torch.bincount(torch.tensor(list(sampler)), minlength=4)
    assert fits(counts, torch.tensor([2.5, 0.5, 0.5, 0.5]))


def test_the_mean_estimates_that_of_the_data_set():
    size = 50
    losses = torch.rand(size, dtype=torch.float64)
    sampler = Bandit(size, rate=0.5, seed=1)
    means = []
    for _ in range(300):
        for batch in sampler.batches(10):
            index = torch.tensor(batch)
            means.append(sampler.mean(losses[index], index))
            learn(sampler, batch, torch.rand(10).tolist())
    means = torch.stack(means)
    # Five standard errors: a false alarm once in two million, if the seed were not fixed.
    assert (means.mean() - losses.mean()).abs() < 5 * means.std() / len(means) ** 0.5


def test_weights_are_those_of_the_draw():
    sampler = Bandit(4, rate=math.log(9), floor=0.5, block=4, seed=1)
    learn(sampler, [0], [1.0])
    drawn = torch.tensor(list(sampler))
    expected = 1 / torch.tensor([2.5, 0.5, 0.5, 0.5])[drawn]
    learn(sampler, [1], [1.0])
    torch.testing.assert_close(sampler.weight(drawn), expected)


def test_a_block_is_a_sixteenth_of_an_epoch_by_default():
    sampler = Bandit(160, rate=1.0, seed=1)
    picks = iter(sampler)
    for _ in range(10):
        next(picks)
    learn(sampler, [5] * 30, [1.0] * 30)
    assert [next(picks) for _ in range(10)].count(5) > 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rate": 0}, ValueError, "rate is 0, expected .* 0 < rate"),
        ({"rate": 1e31}, ValueError, r"rate is 1e\+31, expected .* 0 < rate <= 1e\+30"),
        ({"rate": math.inf}, ValueError, "rate is inf, expected"),
        ({"rate": math.nan}, ValueError, "rate is nan, expected"),
        ({"rate": None}, TypeError, "rate is None, expected a number"),
        ({"floor": 0}, ValueError, "floor is 0, expected .* 0 < floor < 1"),
        ({"floor": 1}, ValueError, "floor is 1, expected"),
        ({"floor": math.nan}, ValueError, "floor is nan, expected"),
        ({"block": 0}, ValueError, "block is 0, expected at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Bandit(10, **arguments)
