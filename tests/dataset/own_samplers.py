"""Samplers of one's own, as small as they can be."""

import torch
from torch import Tensor

from impsamp_fast.dataset import DatasetSampler, WeightedSampler
from impsamp_fast.dataset.sample_memory import SampleMemory

SIZE = 10


class ByLoss(WeightedSampler):
    """The example of the docstring, with a block."""

    def __init__(self, size: int = SIZE, *, warm_up: int = 1, block=None, seed=7) -> None:
        memory = SampleMemory(size, track=("loss",))
        super().__init__(size, warm_up=warm_up, block=block, seed=seed, memory=memory)

    def sample_weights(self, epoch: int) -> Tensor:
        return self.memory.loss.nan_to_num(nan=1.0)


class Ranges(DatasetSampler):
    """Draws 3 indices at a time; epoch e has 5 + e of them."""

    def length(self, epoch: int) -> int:
        return 5 + epoch

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        self.asked = [*getattr(self, "asked", []), (epoch, wanted, seed)]
        return torch.arange(min(3, wanted)) + 10 * epoch


def seed_of(seed: int, epoch: int, position: int) -> int:
    return (seed + (epoch * 2**32 + position) * 0x9E3779B97F4A7C15) % 2**64
