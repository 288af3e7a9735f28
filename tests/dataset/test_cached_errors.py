import pytest
import torch

from impsamp_fast.dataset import CachedErrors
from tests.goodness import fits

SIZE = 40
LOSSES = torch.arange(SIZE).flip(0) / 7  # sample 0 has the largest


def known(**arguments) -> CachedErrors:
    sampler = CachedErrors(
        SIZE, **{"epochs": 10**6, "interval": 3, "last_interval": 3, "seed": 1} | arguments
    )
    sampler.update(torch.arange(SIZE), losses=LOSSES)
    return sampler


@pytest.mark.parametrize(
    ("interval", "last", "epochs", "full"),
    [
        (3, 3, 12, [0, 3, 6, 9, 12, 15]),
        (1, 1, 4, list(range(16))),
        (4, 2, 12, [0, 4, 7, 10, 12, 14]),  # 4, 3.3, 2.8, 2.3, 2
        (2, 4, 8, [0, 2, 4, 7, 11, 15]),
    ],
)
def test_all_samples_come_in_intervals(interval, last, epochs, full):
    sampler = CachedErrors(SIZE, epochs, interval=interval, last_interval=last, seed=0)
    found = []
    for epoch in range(16):
        sampler.set_epoch(epoch)
        if len(sampler) == SIZE:
            found.append(epoch)
            assert sorted(sampler) == list(range(SIZE))
        else:
            assert len(sampler) == SIZE // 2
            assert len(set(sampler)) == SIZE // 2
    assert found == full


@pytest.mark.parametrize(
    ("share", "mutation", "largest", "length"),
    [(0.5, 0.5, 10, 20), (0.29, 0.5, 6, 11), (0.5, 0, 20, 20), (0.5, 1, 0, 20), (0.01, 0, 1, 1)],
)
def test_others_are_of_the_largest_errors_and_random(share, mutation, largest, length):
    sampler = known(share=share, mutation=mutation)
    counts, first = torch.zeros(SIZE, dtype=torch.int64), torch.zeros(SIZE, dtype=torch.int64)
    for epoch in range(1, 6001, 3):
        sampler.set_epoch(epoch)
        picks = torch.tensor(list(sampler))
        assert len(picks.unique()) == len(picks) == length
        assert set(range(largest)) <= set(picks.tolist())
        assert torch.equal(sampler.weight(picks), torch.ones(length))
        counts += picks.bincount(minlength=SIZE)
        first[picks[0]] += 1
    if length > largest:
        assert fits(counts[largest:], torch.ones(SIZE - largest))
    assert length == 1 or fits(first, counts)


def test_samples_without_a_loss_count_as_the_largest():
    sampler = CachedErrors(SIZE, 100, share=0.5, mutation=0, interval=3, seed=1)
    sampler.update(torch.arange(20), losses=LOSSES[:20])
    sampler.set_epoch(1)
    assert sorted(sampler) == list(range(20, 40))


def test_what_is_trained_on_tells_its_new_error():
    sampler = known(mutation=0)
    sampler.set_epoch(1)
    assert 0 in list(sampler)
    sampler.update(torch.tensor([0, 39]), losses=torch.tensor([0.0, 9.0]))
    sampler.set_epoch(2)
    picks = list(sampler)
    assert 0 not in picks
    assert 39 in picks


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0, expected at least 1"),
        ({"share": 0}, ValueError, "share is 0, expected"),
        ({"mutation": 1.5}, ValueError, "mutation is 1.5, expected"),
        ({"interval": 0}, ValueError, "interval is 0, expected at least 1"),
        ({"last_interval": 1.5}, TypeError, "last_interval is 1.5, expected an integer"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        CachedErrors(10, **{"epochs": 5} | arguments)
