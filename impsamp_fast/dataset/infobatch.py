"""InfoBatch: samples of small loss are left out at random, and those kept count for more."""

from typing import final

from torch import Tensor

from impsamp_fast._faults import OnFault
from impsamp_fast.dataset._pruning import Pruning, WeightedPruning
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.dataset.sampler import shuffled


class _ByLastLoss(Pruning):
    """Looks at the last losses."""

    memory: SampleMemory

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
        memory = SampleMemory(size, track=("loss",), on_fault=on_fault)
        super().__init__(size, epochs, ratio=ratio, full_after=full_after, seed=seed, memory=memory)

    def scores(self) -> Tensor:
        """The last losses, [N] float32, NaN where there is none."""
        return self.memory.loss


@final
class InfoBatch(_ByLastLoss, WeightedPruning):
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


@final
class RandomPruning(_ByLastLoss):
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

    def _kept(self, easy: Tensor, dropped: int, seed: int) -> Tensor:
        return shuffled(self.size, seed)[: self.size - dropped]
