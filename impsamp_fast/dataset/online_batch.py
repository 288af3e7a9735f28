"""Online batch selection: the larger the last loss, the likelier."""

from typing import final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._faults import OnFault
from impsamp_fast.dataset._pressure import ranks, selection_pressure, weights_by_rank
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.dataset.weighted import WeightedSampler


@final
class OnlineBatchSelection(WeightedSampler):
    r"""Draws samples by the rank of their last known loss.

    Loshchilov and Hutter (2015): with rank 1 for the largest loss of N,
    :math:`P(r) \propto \exp(-r \ln(s_e) / N)`: the first is s_e times as likely as the last. The
    pressure s_e falls exponentially from ``pressure`` in the first epoch after the warm-up to 1,
    which is uniform, in the last one (epoch ``epochs`` - 1; if only one epoch follows the warm-up,
    it has ``pressure``).

    Where the paper leaves it open: equal losses share the mean of their ranks; a sample without a
    loss ranks before all others, which after a full warm-up epoch is none. The authors rank anew
    while the epoch runs; here each block does, and the default is one block per epoch, as in the
    comparison by Song et al. (2020). ``update`` needs ``losses``, or ``logits`` and ``target``.

    Ranking takes up to a second per block at N = 10^7, besides the draws. 8 bytes per sample,
    and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        pressure: s_e at first, at least 1; the paper's is 100.
        warm_up: the number of uniform epochs before.
        block: how many indices are drawn from one ranking; None is the whole epoch.
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
        pressure: float = 100.0,
        warm_up: int = 1,
        block: int | None = None,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        epochs = check_integer("epochs", epochs, 1)
        pressure = check_number("pressure", pressure, 1)
        memory = SampleMemory(size, track=("loss",), on_fault=on_fault)
        super().__init__(size, warm_up=warm_up, block=block, seed=seed, memory=memory)
        self.epochs = epochs
        self.pressure = pressure

    def sample_weights(self, epoch: int) -> Tensor:
        """exp(-r ln(s_e) / N), [N] float64."""
        pressure = selection_pressure(epoch, self.warm_up, self.epochs, self.pressure)
        loss = self.memory.loss
        return weights_by_rank(ranks(loss.nan_to_num(nan=torch.inf, posinf=torch.inf)), pressure)
