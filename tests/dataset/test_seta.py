import numpy as np
import pytest
import torch

from impsamp_fast.dataset import SlidingWindow
from impsamp_fast.dataset.seta import group_bounds
from tests.goodness import fits


def assert_is_k_means(values: np.ndarray, labels: np.ndarray, groups: int) -> None:
    """Each value is in the group whose mean is nearest."""
    means = np.array([values[labels == g].mean() for g in range(groups)])
    assert (np.diff(means) > 0).all()
    distance = np.abs(values[:, None] - means)
    np.testing.assert_allclose(distance[np.arange(len(values)), labels], distance.min(axis=1))


@pytest.mark.parametrize("groups", [1, 2, 5, 10])
def test_groups_are_k_means(groups):
    values = torch.rand(500, generator=torch.Generator().manual_seed(0)).square()
    labels = torch.bucketize(values, group_bounds(values, groups))
    assert labels.unique().tolist() == list(range(groups))
    assert_is_k_means(values.double().numpy(), labels.numpy(), groups)


def test_groups_depend_on_no_default_of_torch():
    values = torch.rand(50)
    expected = group_bounds(values, 5)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        found = group_bounds(values, 5)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(found, expected)


def test_clusters_that_lie_apart_are_found():
    values = torch.cat([torch.rand(n) + 10 * i for i, n in enumerate((40, 30, 50, 45))])
    labels = torch.bucketize(values, group_bounds(values, 4))
    assert labels.bincount().tolist() == [40, 30, 50, 45]


def known(losses: torch.Tensor, **arguments) -> SlidingWindow:
    sampler = SlidingWindow(len(losses), **{"epochs": 100, "ratio": 0, "seed": 1} | arguments)
    sampler.update(torch.arange(len(losses)), losses=losses)
    return sampler


# Four groups of 10, in mixed order.
GROUP = torch.arange(40) % 4
LOSSES = 10.0 * GROUP + torch.linspace(0, 1, 40)


@pytest.mark.parametrize(
    ("window", "windows"),
    [
        (0.5, {1: {1, 2}, 2: {2, 3}, 3: {0, 1}, 4: {1, 2}}),
        (0.25, {1: {1}, 2: {2}, 3: {3}, 4: {0}}),
        (1.0, {1: {0, 1, 2, 3}, 2: {0, 1, 2, 3}}),
        (0.01, {1: {1}, 4: {0}}),
    ],
)
def test_the_window_slides_from_easy_to_hard(window, windows):
    sampler = known(LOSSES, groups=4, window=window)
    for epoch, groups in windows.items():
        sampler.set_epoch(epoch)
        assert len(sampler) == 10 * len(groups)
        picks = torch.tensor(list(sampler))
        assert set(GROUP[picks].tolist()) == groups
        assert len(picks.unique()) == 10 * len(groups)
        assert torch.equal(sampler.weight(picks), torch.ones(len(picks)))


def test_a_random_share_is_left_out():
    sampler = known(LOSSES, groups=4, window=0.25, ratio=0.29, epochs=10**6)
    kept = torch.zeros(40, dtype=torch.int64)
    for epoch in range(1, 8001, 4):
        sampler.set_epoch(epoch)
        picks = torch.tensor(list(sampler))
        assert len(picks.unique()) == 8
        kept += picks.bincount(minlength=40)
    assert fits(kept, (GROUP == 1).double())


def test_the_first_and_the_last_epochs_are_of_all_groups():
    sampler = known(LOSSES, groups=4, ratio=0.1, epochs=8)
    for epoch, length in ((0, 40), (6, 18), (7, 36), (8, 36)):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == length


def test_samples_without_a_loss_are_kept():
    sampler = SlidingWindow(40, 100, ratio=0, groups=4, window=0.25, seed=1)
    sampler.update(torch.arange(20), losses=LOSSES[:20])
    sampler.set_epoch(1)
    picks = set(sampler)
    assert set(range(20, 40)) < picks
    assert {int(GROUP[i]) for i in picks if i < 20} == {1}


def test_an_empty_window_is_of_all():
    sampler = known(torch.ones(40), groups=4, window=0.25)
    sampler.set_epoch(1)
    assert sorted(sampler) == list(range(40))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0, expected at least 1"),
        ({"ratio": 1}, ValueError, "ratio is 1, expected"),
        ({"groups": 0}, ValueError, "groups is 0, expected at least 1"),
        ({"groups": 2.5}, TypeError, "groups is 2.5, expected an integer"),
        ({"window": 0}, ValueError, "window is 0, expected .* 0 < window <= 1"),
        ({"full_after": -1}, ValueError, "full_after is -1, expected"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        SlidingWindow(10, **{"epochs": 5} | arguments)
