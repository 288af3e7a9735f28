"""The epochwise accuracy filter: an epoch of what is not yet right."""

from typing import ClassVar, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._faults import OnFault
from impsamp_fast._seeds import second_seed
from impsamp_fast._uniform import fill
from impsamp_fast.dataset._feedback import Feedback
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled


@final
class EpochAccuracyFilter(DatasetSampler):
    r"""Trains on what was misclassified when it was last seen.

    The epochwise filter of Smedås (2021): at the start of an epoch the samples that pass are kept,
    in random order: the misclassified ones (hard accuracy), with ``alpha`` > 0 also those whose two
    highest probabilities differ by at most that (soft accuracy), in one formula those with
    :math:`p_y - \max_{c \neq y} p_c \leq \alpha`; see :class:`~impsamp_fast.AccuracyFilter`. A
    sample that was never seen passes. If fewer than ``least`` pass, random others fill up. All
    weights are 1.

    The thesis passes all samples through the model before each epoch. Here the training steps show
    which ones pass, at no cost, but what is left out is not seen again: hence every
    ``full_every``-th epoch is of all samples, from the first one on. To do as the thesis does,
    take ``full_every=None`` and call ``update`` with the logits of all samples before each epoch.

    The thesis's caveat: with random augmentation a sample passes by another view than the one that
    is trained on. ``update`` needs ``logits`` and ``target``.

    1 byte per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        alpha: in [0, 1]; 0 is the hard accuracy filter.
        full_every: every how many epochs all samples are trained on, at least 1; None means only
            in the first epoch.
        least: the least number of samples in an epoch, at least 1; all if N is smaller.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    tables: ClassVar = {"passes": (torch.bool, True)}

    memory: Feedback

    def __init__(
        self,
        size: int,
        *,
        alpha: float = 0.0,
        full_every: int | None = 2,
        least: int = 128,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        super().__init__(size, seed=seed, memory=Feedback(size, "margin", self._learn, on_fault))
        alpha = check_number("alpha", alpha, 0, 1, open_high=False)
        if full_every is not None:
            full_every = check_integer("full_every", full_every, 1)
        least = check_integer("least", least, 1)
        self.alpha = alpha
        self.full_every = full_every
        self.least = least

    def length(self, epoch: int) -> int:
        """N in a full epoch, else the number of samples that pass, and at least ``least``."""
        if self._is_full(epoch):
            return self.size
        return max(int(self._passes().sum()), min(self.least, self.size))

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """The whole epoch, in random order."""
        order = shuffled(wanted, seed)
        if wanted == self.size:
            return order
        passing, others = (mask.nonzero().squeeze(1) for mask in (self._passes(), ~self._passes()))
        return fill(passing, others, wanted, second_seed(seed))[order]

    def _is_full(self, epoch: int) -> bool:
        return epoch == 0 or (self.full_every is not None and epoch % self.full_every == 0)

    def _passes(self) -> Tensor:
        self.memory.fetch()
        return self._tables["passes"]

    def _learn(self, index: Tensor, margin: Tensor) -> None:
        self._tables["passes"][index] = margin <= self.alpha
