import itertools

import pytest
import torch
from torch import Tensor

from impsamp_fast.dataset import RobustImportance
from impsamp_fast.dataset.robust_importance import nonnegative_fit

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 64


def found(sampler: RobustImportance, squares: Tensor, index: Tensor | None = None) -> None:
    """A step in which these samples had these squared gradient norms, each less than 2."""
    # Of two classes the norm is sqrt(2) (1 - p_true).
    wrong = (squares.double() / 2).sqrt()
    logits = torch.stack([(1 - wrong).log(), wrong.log()], 1)
    index = torch.arange(len(squares)) if index is None else index
    sampler.update(index, logits, torch.zeros(len(squares), dtype=torch.int64))


def squares(seed: int, size: int = SIZE) -> Tensor:
    return 0.1 + torch.rand(size, generator=torch.Generator().manual_seed(seed))


class TestFit:
    @pytest.mark.parametrize("seed", range(6))
    def test_is_the_least_squares_that_are_not_negative(self, seed):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(3, 50, generator=generator, dtype=torch.float64)
        value = torch.randn(50, generator=generator, dtype=torch.float64)
        found = nonnegative_fit(features, value)
        # The conditions of Karush, Kuhn and Tucker, which are sufficient.
        slope = features @ (found @ features - value)
        assert (found >= 0).all()
        assert (slope > -1e-9).all()
        assert (slope * found).abs().max() < 1e-9

    def test_finds_what_is_there(self):
        features = torch.rand(3, 40)
        value = 0.5 * features[0] + 2 * features[2]
        assert nonnegative_fit(features, value).tolist() == pytest.approx([0.5, 0, 2], abs=1e-5)

    def test_of_features_that_are_zero_or_alike(self):
        one, zero = torch.ones(5), torch.zeros(5)

        def fit(*features: Tensor) -> list[float]:
            return nonnegative_fit(torch.stack(features), 3 * one).tolist()

        assert fit(zero, one, zero) == pytest.approx([0, 3, 0])
        assert sum(fit(one, one)) == pytest.approx(3)
        assert fit(-one, zero) == [0, 0]


class TestWeights:
    def test_are_uniform_before_anything_is_known(self):
        sampler = RobustImportance(SIZE, seed=1)
        assert torch.equal(sampler.sample_weights(1), torch.ones(SIZE))
        found(sampler, torch.zeros(SIZE))
        assert torch.equal(sampler.sample_weights(1), torch.ones(SIZE))

    @pytest.mark.parametrize("k", [0.0, 1.0, 4.0])
    def test_are_by_the_last_norm_and_a_constant_at_first(self, k):
        sampler = RobustImportance(SIZE, k=k, floor=1e-6, seed=1)
        known = squares(0)
        found(sampler, known)
        expected = (known / known.mean() + k).sqrt()
        torch.testing.assert_close(sampler.sample_weights(1), expected / expected.mean())

    def test_are_by_the_norm_alone_where_it_is_known_exactly(self):
        """Where each norm is a multiple of the one before nothing is uncertain."""
        sampler = RobustImportance(SIZE, k=9.0, floor=1e-6, seed=1)
        known = squares(0)
        found(sampler, known)
        found(sampler, 0.5 * known)
        expected = known.sqrt()
        found_now = sampler.sample_weights(1)
        torch.testing.assert_close(found_now, expected / expected.mean(), rtol=1e-3, atol=0)

    def test_are_alike_where_the_last_norm_says_nothing(self):
        sampler = RobustImportance(2000, floor=1e-6, seed=1)
        for seed in (0, 1):
            found(sampler, squares(seed, 2000))
        weight = sampler.sample_weights(1)
        assert weight.std() < 0.1
        only_last = (squares(1, 2000) / squares(1, 2000).mean()).sqrt()
        assert only_last.std() > 0.2

    def test_are_larger_the_older_what_is_known(self):
        """Where a norm has changed much after four epochs, and not at all within one."""
        sampler = RobustImportance(2000, k=2.0, floor=1e-3, seed=1)
        number = torch.arange(2000)
        half = number < 1000
        found(sampler, torch.full((2000,), 0.5))
        sampler._tables["drawn"][half] = 4
        found(sampler, 0.5 + torch.where(half, 0.4 * (number % 2 * 2 - 1), 0))
        sampler._tables["learned"][:] = torch.where(number % 3 == 0, 0, 4)
        weight = sampler.sample_weights(4)
        old, new = ((half & (number % 2 == 1) & (number % 3 == rest)) for rest in (0, 1))
        assert weight[old].std() < 1e-6
        assert weight[old].mean() > 1.2 * weight[new].mean()

    def test_have_a_floor(self):
        sampler = RobustImportance(SIZE, k=0.0, floor=0.5, seed=1)
        found(sampler, torch.cat([torch.full((SIZE - 1,), 1e-4), torch.tensor([1.9])]))
        weight = sampler.sample_weights(1)
        assert weight.min() == 0.5
        assert weight.mean().item() == pytest.approx(1, abs=1e-6)

    def test_of_a_sample_that_was_never_seen_are_those_of_the_mean(self):
        sampler = RobustImportance(SIZE, floor=1e-6, seed=1)
        known = squares(0, SIZE - 1)
        found(sampler, known)
        weight = sampler.sample_weights(1)
        assert weight[-1] > weight[known.argmin()]
        assert weight[-1] < weight[known.argmax()]


def test_ages_count_epochs_between_what_was_learned():
    sampler = RobustImportance(SIZE, block=SIZE, seed=1)
    list(sampler)
    for epoch in (1, 2, 5):
        sampler.set_epoch(epoch)
        before = sampler._tables["learned"].clone()
        drawn = torch.tensor(list(sampler)).unique()
        told = drawn[::2]
        found(sampler, squares(epoch)[told], told)
        assert (sampler._tables["learned"][told] == epoch).all()
        assert torch.equal(sampler._tables["gap"][told], epoch - before[told])
        assert torch.equal(sampler._tables["learned"][drawn[1::2]], before[drawn[1::2]])
        found(sampler, squares(epoch)[told], told)  # a sample may come twice
        assert (sampler._tables["gap"][told] == 0).all()


def test_epochs_may_begin_again():
    sampler = RobustImportance(SIZE, warm_up=0, seed=1)
    for epoch in (0, 3, 8, 1, 0):
        sampler.set_epoch(epoch)
        for batch in sampler.batches(16):
            index = torch.tensor(batch)
            found(sampler, squares(epoch, SIZE)[index] * (1 + epoch) / 9, index)
        assert sampler.sample_weights(epoch).isfinite().all()


def test_the_mean_estimates_that_of_the_data_set():
    losses = torch.rand(SIZE, dtype=torch.float64)
    sampler = RobustImportance(SIZE, block=16, seed=1)
    means = []
    for epoch in range(120):
        for batch in sampler.batches(16):
            index = torch.tensor(batch)
            if epoch:
                means.append(sampler.mean(losses[index], index))
            found(sampler, squares(epoch)[index], index)
    means = torch.stack(means)
    # Five standard errors: a false alarm once in two million, if the seed were not fixed.
    assert (means.mean() - losses.mean()).abs() < 5 * means.std() / len(means) ** 0.5


class TestGain:
    def test_is_one_while_draws_are_uniform(self):
        sampler = RobustImportance(SIZE, seed=1)
        assert sampler.gain() == 1
        list(itertools.islice(sampler, 10))
        found(sampler, squares(0))
        assert sampler.gain() == 1

    def test_is_the_ratio_of_mean_squared_norms(self):
        sampler = RobustImportance(SIZE, k=0.0, block=SIZE, seed=1)
        known = torch.where(torch.arange(SIZE) < 8, 1.9, 0.01)
        found(sampler, known)
        sampler.set_epoch(1)
        for _ in range(20):  # until all have been drawn
            list(sampler)
        relative = sampler._tables["relative"]
        expected = known.mean() / (known / relative).mean()
        assert expected > 1.5
        assert sampler.gain() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": -1}, ValueError, "k is -1"),
        ({"floor": 0}, ValueError, "floor is 0"),
        ({"floor": 1}, ValueError, "floor is 1"),
        ({"warm_up": -1}, ValueError, "warm_up is -1"),
        ({"block": 0}, ValueError, "block is 0"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        RobustImportance(SIZE, **arguments)
