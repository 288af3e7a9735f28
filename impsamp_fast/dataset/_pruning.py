"""Epochs without a share of the samples whose score is below the mean."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._seeds import second_seed
from impsamp_fast.dataset._feedback import Memory
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled
from impsamp_fast.ops import draw


class Pruning(DatasetSampler):
    """Leaves out as many samples per epoch as InfoBatch does; which ones, a subclass says."""

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        ratio: float,
        full_after: float,
        seed: int | None,
        memory: Memory,
    ) -> None:
        epochs = check_integer("epochs", epochs, 1)
        ratio = check_number("ratio", ratio, 0, 1)
        full_after = check_number("full_after", full_after, 0)
        super().__init__(size, seed=seed, memory=memory)
        self.epochs = epochs
        self.ratio = ratio
        self.full_after = full_after

    @abstractmethod
    def scores(self) -> Tensor:
        """What is compared with its mean, [N] float32, NaN where it is not known."""

    def length(self, epoch: int) -> int:
        """N less the number of samples that are left out."""
        return self.size - share_of(int(self._easy(epoch).sum()), self.ratio)

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """The whole epoch, in random order."""
        return self._kept(self._easy(epoch), self.size - wanted, seed)

    @abstractmethod
    def _kept(self, easy: Tensor, dropped: int, seed: int) -> Tensor:
        """All samples in random order without as many as are dropped, [N - dropped]."""

    def _easy(self, epoch: int) -> Tensor:
        """Whose score is below the mean of all scores, [N] bool; none in full epochs."""
        scores = self.scores()
        if epoch >= self.full_after * self.epochs:
            return torch.zeros_like(scores, dtype=torch.bool)
        # The mean is NaN as long as there is no score, and nothing is below it.
        return scores < scores.nanmean(dtype=torch.float64).item()


class WeightedPruning(Pruning):
    """Leaves out samples of small score at random, and weighs those of them that it keeps."""

    tables: ClassVar = {"easy": (torch.bool, False)}  # whose weight is 1 / (1 - r) in this epoch

    def _kept(self, easy: Tensor, dropped: int, seed: int) -> Tensor:
        self._tables["easy"] = easy
        if dropped == 0:
            return shuffled(self.size, seed)
        left_out = draw(easy.to(torch.float32), dropped, method="race", seed=second_seed(seed))
        kept = torch.ones(self.size, dtype=torch.bool, device="cpu")
        kept[left_out.index] = False
        return kept.nonzero().squeeze(1)[shuffled(self.size - dropped, seed)]

    def _weight(self, index: Tensor) -> Tensor:
        easy = self._tables["easy"][index]
        return torch.where(easy, 1 / (1 - self.ratio), 1.0).to(torch.float32)


def share_of(number: int, share: float) -> int:
    """A share of a number of samples, rounded down."""
    # 0.29 of 100 is 29, but in binary floating point the product is a little less.
    return math.floor(round(share * number, 6))
