"""Samples' numbers above 2^24, where float32 no longer tells neighbours apart."""

from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from impsamp_fast import PickCounts, strategies
from impsamp_fast.dataset import DatasetSampler, WeightedSampler, WithIndex
from impsamp_fast.dataset.sample_memory import SampleMemory
from tests.dataset.dataset_run import CLASSES
from tests.dataset.memories import EVERYTHING, learned

FIRST = 1 << 24
SIZE = FIRST + 4096
# As float32 those behind 2^24 and 2^24 + 2 would be a neighbour.
NUMBERS = torch.arange(FIRST - 1, FIRST + 4)
LOGITS = torch.tensor([[1.0, 2.0, 4.0]]).repeat(len(NUMBERS), 1)
TARGET = torch.zeros(len(NUMBERS), dtype=torch.int64)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_a_memory_keeps_them_apart(dtype):
    memory = SampleMemory(SIZE, track=EVERYTHING, history=1, classes=CLASSES)
    memory.update(NUMBERS[::2].to(dtype), LOGITS[::2], TARGET[::2], losses=torch.ones(3))
    assert torch.equal(memory.seen.nonzero().squeeze(1), NUMBERS[::2])
    assert torch.equal(memory.loss.isfinite().nonzero().squeeze(1), NUMBERS[::2])
    assert torch.equal(memory.p_true_mean.isfinite().nonzero().squeeze(1), NUMBERS[::2])
    assert torch.equal(memory.labels.squeeze(1).nonzero().squeeze(1), NUMBERS[::2])
    assert torch.equal(memory.label_entropy().isfinite().nonzero().squeeze(1), NUMBERS[::2])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_so_do_counts(dtype):
    counts = PickCounts(SIZE)
    counts.update(NUMBERS[[0, 2, 2, 4]].to(dtype))
    assert torch.equal(counts.counts.nonzero().squeeze(1), NUMBERS[::2])
    assert counts.most(3).tolist() == NUMBERS[[2, 0, 4]].tolist()


@pytest.mark.parametrize("name", strategies.names("dataset"))
def test_so_does_every_sampler(name):
    sampler = strategies.make(name, SIZE, epochs=4, classes=CLASSES, seed=0)
    before = learned(sampler)
    sampler.update(NUMBERS[::2], LOGITS[::2], TARGET[::2], losses=torch.ones(3))
    sampler.weight(NUMBERS)
    for name_of, new in learned(sampler).items():
        changed = (before[name_of].nan_to_num(-1) != new.nan_to_num(-1)).nonzero()[:, 0]
        assert torch.equal(changed, NUMBERS[::2]) or not len(changed)
    block = sampler.draw_block(0, SIZE, seed=1)
    if name == "bandit":  # which draws with replacement, a sixteenth of the epoch
        counts = torch.bincount(block[block >= FIRST] - FIRST, minlength=4096)
        assert (counts[1::2] > 0).sum() > 64
        assert len(counts) == 4096
    else:
        assert (torch.bincount(block, minlength=SIZE) == 1).all()


def test_weights_draw_them_and_no_neighbours():
    class OfThree(WeightedSampler):
        def sample_weights(self, epoch: int) -> torch.Tensor:
            return torch.zeros(SIZE).index_fill_(0, NUMBERS[::2], 1.0)

    sampler = OfThree(SIZE, warm_up=0, block=100, seed=0)
    assert set(islice(sampler, 100)) == set(NUMBERS[::2].tolist())


class Numbers(Dataset):
    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> int:
        return -index


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_hands_them_out(workers):
    sampler = NUMBERS.tolist()
    loader = DataLoader(WithIndex(Numbers()), batch_size=5, sampler=sampler, num_workers=workers)
    x, index = next(iter(loader))
    assert torch.equal(index, NUMBERS)
    assert torch.equal(x, -NUMBERS)


def test_numbers_beyond_32_bits_have_room():
    class Beyond(DatasetSampler):
        """Has more samples than tables of them would fit."""

        def length(self, epoch: int) -> int:
            return 5

        def draw_block(self, epoch: int, wanted: int, seed: int) -> torch.Tensor:
            return (1 << 32) + NUMBERS

    assert list(Beyond(1 << 34, seed=0)) == [(1 << 32) + number for number in NUMBERS.tolist()]
