"""InfoBatch: samples of small loss are left out at random, and those kept count for more."""

import math
from abc import abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._faults import OnFault
from impsamp_fast._seeds import second_seed
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled
from impsamp_fast.ops import draw


class _Pruning(DatasetSampler):
    """Leaves out as many samples per epoch as InfoBatch does; which ones, a subclass says."""

    memory: SampleMemory

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        ratio: float,
        full_after: float,
        on_fault: OnFault,
        seed: int | None,
    ) -> None:
        epochs = check_integer("epochs", epochs, 1)
        ratio = check_number("ratio", ratio, 0, 1)
        full_after = check_number("full_after", full_after, 0)
        memory = SampleMemory(size, track=("loss",), on_fault=on_fault)
        super().__init__(size, seed=seed, memory=memory)
        self.epochs = epochs
        self.ratio = ratio
        self.full_after = full_after

    def length(self, epoch: int) -> int:
        """N less the number of samples that are left out."""
        # 0.29 of 100 is 29, but in binary floating point the product is a little less.
        return self.size - math.floor(round(self.ratio * int(self._easy(epoch).sum()), 6))

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """The whole epoch, in random order."""
        return self._kept(self._easy(epoch), self.size - wanted, seed)

    @abstractmethod
    def _kept(self, easy: Tensor, dropped: int, seed: int) -> Tensor:
        """All samples in random order without as many as are dropped, [N - dropped]."""

    def _easy(self, epoch: int) -> Tensor:
        """Whose last loss is below the mean of all last losses, [N] bool; none in full epochs."""
        loss = self.memory.loss
        if epoch >= self.full_after * self.epochs:
            return torch.zeros_like(loss, dtype=torch.bool)
        # The mean is NaN as long as there is no loss, and nothing is below it.
        return loss < loss.nanmean(dtype=torch.float64).item()


@final
class InfoBatch(_Pruning):
    r"""Leaves out a random share of the samples of small loss in each epoch.

    Qin et al. (2024): of the B samples whose last loss is below the mean of all last losses,
    :math:`\lfloor rB \rfloor` are left out at random; the losses of the other ones of those B are
    weighted by 1 / (1 - r), so that the sum over the epoch is that over all samples in expectation.
    The last epochs, from ``full_after`` times ``epochs`` on, are of all samples. An epoch's choice
    is made when it begins, and its length differs from epoch to epoch.

    Which samples may be left out depends on last losses that can be several epochs old. A sample
    without a loss is kept, so that the first epoch is of all samples. Weights of 1 / (1 - r) sum up
    to B exactly where rB is an integer. ``update`` needs ``losses``, or ``logits`` and ``target``.

    9 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        ratio: r, in [0, 1); the paper's is 0.5.
        full_after: from which share of the epochs on all samples are trained on, at least 0; the
            paper's is 0.875, and 1 or more never does.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    tables: ClassVar = {"easy": (torch.bool, False)}  # whose weight is 1 / (1 - r) in this epoch

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        ratio: float = 0.5,
        full_after: float = 0.875,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            size, epochs, ratio=ratio, full_after=full_after, on_fault=on_fault, seed=seed
        )

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


@final
class RandomPruning(_Pruning):
    r"""Leaves out as many samples per epoch as InfoBatch would, but any of them: its baseline.

    Of the N samples :math:`\lfloor rB \rfloor` are left out at random, where B is the number of
    samples whose last loss is below the mean of all last losses. All weights are 1: the mean loss
    of a random subset is unbiased as it is. ``update`` needs ``losses``, or ``logits`` and
    ``target``, to know B.

    8 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        ratio: r, in [0, 1).
        full_after: from which share of the epochs on all samples are trained on, at least 0.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        ratio: float = 0.5,
        full_after: float = 0.875,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            size, epochs, ratio=ratio, full_after=full_after, on_fault=on_fault, seed=seed
        )

    def _kept(self, easy: Tensor, dropped: int, seed: int) -> Tensor:
        return shuffled(self.size, seed)[: self.size - dropped]
