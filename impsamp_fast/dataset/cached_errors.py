"""EVOS: the samples of the largest cached errors, and random others."""

from typing import final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._faults import OnFault
from impsamp_fast._seeds import second_seed
from impsamp_fast._uniform import fill
from impsamp_fast.dataset._pruning import share_of
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled


@final
class CachedErrors(DatasetSampler):
    r"""Trains on the samples of the largest known losses and random others, in some epochs on all.

    After EVOS of Zhang et al. (2025), which trains implicit representations of a signal: all
    coordinates are evaluated only in every few epochs; the epochs in between are of a share r of
    the samples, of which :math:`(1 - \mu) r N` have the largest cached errors and :math:`\mu r N`
    are drawn uniformly from the others. The interval falls linearly over the training. Nothing is
    weighted: an epoch's mean loss is biased.

    Where it is ours: the error is the loss, and a sample that is trained on in between tells its
    new one; a sample without a loss counts as the largest; the intervals fit trainings of tens of
    epochs, where the authors', of thousands, are 100 and 50. Their crossover with the error of the
    Laplacian and their loss on it are left out: they need the signal's grid. ``update`` needs
    ``losses``, or ``logits`` and ``target``.

    8 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        share: r, in (0, 1]; the paper's is 0.5.
        mutation: which share of an epoch is random, in [0, 1]; 0.5 in the authors' code.
        interval: every how many epochs all samples are trained on, at first, at least 1.
        last_interval: the same at the end, at least 1.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    memory: SampleMemory

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        share: float = 0.5,
        mutation: float = 0.5,
        interval: int = 4,
        last_interval: int = 2,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        epochs = check_integer("epochs", epochs, 1)
        memory = SampleMemory(size, track=("loss",), on_fault=on_fault)
        super().__init__(size, seed=seed, memory=memory)
        self.epochs = epochs
        self.share = check_number("share", share, 0, 1, open_low=True, open_high=False)
        self.mutation = check_number("mutation", mutation, 0, 1, open_high=False)
        self.interval = check_integer("interval", interval, 1)
        self.last_interval = check_integer("last_interval", last_interval, 1)

    def length(self, epoch: int) -> int:
        """N where all samples are trained on, else a share of them, and at least 1."""
        return self.size if self._is_full(epoch) else max(1, share_of(self.size, self.share))

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """The whole epoch, in random order."""
        order = shuffled(wanted, seed)
        if self._is_full(epoch):
            return order
        loss = self.memory.loss.nan_to_num(nan=torch.inf, posinf=torch.inf)
        random = share_of(wanted, self.mutation)
        largest = loss.topk(wanted - random).indices
        others = torch.ones(self.size, dtype=torch.bool, device="cpu")
        others[largest] = False
        rest = others.nonzero().squeeze(1)
        return fill(largest, rest, wanted, second_seed(seed))[order]

    def _is_full(self, epoch: int) -> bool:
        full = 0
        while full < epoch:
            done = min(1.0, full / self.epochs)
            full += round(self.interval + (self.last_interval - self.interval) * done)
        return full == epoch
