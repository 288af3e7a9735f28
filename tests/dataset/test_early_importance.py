import pytest
import torch

from impsamp_fast.dataset import EarlyImportance
from tests.goodness import fits


def see(sampler: EarlyImportance, p_true: list[float]) -> None:
    """A step in which the true class of samples 0, 1, ... had these probabilities."""
    p = torch.tensor(p_true, dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()], 1)
    sampler.update(torch.arange(len(p)), logits, torch.zeros(len(p), dtype=torch.int64))


def seen(**arguments) -> EarlyImportance:
    """Three samples of mean probability 0.9, 0.5 and 0.2, and one that was never seen."""
    sampler = EarlyImportance(4, **{"warm_up": 2, "seed": 1} | arguments)
    see(sampler, [0.8, 0.7, 0.2])
    see(sampler, [1.0, 0.3, 0.2])
    return sampler


HARDNESS = torch.tensor([0.1, 0.5, 0.8, 1.4 / 3])  # the last has the mean of the others


def test_weights_are_one_less_the_mean_probability():
    torch.testing.assert_close(seen().sample_weights(2), HARDNESS)


def test_the_map_makes_other_weights_of_it():
    torch.testing.assert_close(seen(map=torch.square).sample_weights(2), HARDNESS.square())


def test_weights_stay_what_they_are_after_the_first_epochs():
    sampler = seen()
    sampler.set_epoch(2)
    list(sampler)
    see(sampler, [0.01, 0.99, 0.99, 0.5])
    list(sampler)
    torch.testing.assert_close(sampler.sample_weights(3), HARDNESS)


def test_the_first_epochs_are_shuffles():
    sampler = seen()
    assert sorted(sampler) == [0, 1, 2, 3]
    assert sorted(sampler) == [0, 1, 2, 3]
    assert len(sampler) == 4


def test_draws_have_the_probabilities_of_the_weights():
    sampler = seen()
    sampler.set_epoch(2)
    counts = torch.zeros(4, dtype=torch.int64)
    for _ in range(5000):
        epoch = torch.tensor(list(sampler))
        assert torch.equal(sampler.weight(epoch), torch.ones(4))
        counts += torch.bincount(epoch, minlength=4)
    assert fits(counts, HARDNESS)


def test_a_state_from_before_the_weights_were_fixed_unfixes_them():
    sampler = seen()
    before = sampler.state_dict()
    sampler.set_epoch(2)
    list(sampler)
    sampler.load_state_dict(before)
    see(sampler, [0.1, 0.1, 0.1, 0.1])
    assert not torch.allclose(sampler.sample_weights(2), HARDNESS)


def test_weights_need_something_seen():
    sampler = EarlyImportance(4, warm_up=1, seed=1)
    sampler.set_epoch(1)
    with pytest.raises(ValueError, match="no sample was seen in the first epochs: call update"):
        next(iter(sampler))
    see(sampler, [0.5])
    assert len(list(sampler)) == 4
    assert sampler.state_dict()["epoch"] == 1  # the failure began no epoch


@pytest.mark.parametrize(
    ("map", "message"),
    [
        (lambda hardness: hardness[:2], r"map returned \[2\], expected weights \[4\]"),
        (lambda hardness: hardness.tolist(), r"map returned list, expected weights \[4\]"),
        (lambda hardness: hardness - 1, "map returned a weight that is negative or not finite"),
        (torch.log, "map returned a weight that is negative or not finite"),
    ],
)
def test_a_map_that_gives_no_weights_is_an_error(map, message):
    with pytest.raises(ValueError, match=message):
        seen(map=map).sample_weights(2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"warm_up": 0}, ValueError, "warm_up is 0, expected at least 1"),
        ({"warm_up": None}, TypeError, "warm_up is None, expected an integer"),
        ({"map": "square"}, TypeError, "map is 'square', expected a function"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        EarlyImportance(10, **arguments)
