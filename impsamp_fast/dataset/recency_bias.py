"""Recency bias: the more a sample's last predictions disagree, the likelier."""

from typing import final

from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._faults import OnFault
from impsamp_fast.dataset._pressure import selection_pressure, weights_by_rank
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.dataset.weighted import WeightedSampler


@final
class RecencyBias(WeightedSampler):
    r"""Draws samples by the disagreement of their last predicted labels.

    Song et al. (2020): the uncertainty F of a sample is the entropy of its last ``history``
    predicted labels divided by ln C (definition 3.1). It becomes the index
    :math:`Q = \lceil (1 - F) N \rceil` (equation 5), and :math:`P \propto \exp(-Q \ln(s_e) / N)`
    (equation 6). The pressure s_e falls exponentially from ``pressure`` in the first epoch after
    the warm-up to 1, which is uniform, in the last one (equation 7; if only one epoch follows the
    warm-up, it has ``pressure``). As in their algorithm 1 the probabilities are computed once per
    epoch.

    The authors ask for a warm-up of at least ``history`` epochs, so that all histories are full; a
    shorter one is allowed, and an entropy is then that of the labels there are. A sample that was
    never seen counts as uncertain, F = 1. ``update`` needs ``logits``.

    With up to 256 classes 4 + ``history`` bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        classes: C, at least 2.
        history: how many predicted labels are kept, at least 1; the paper's is 10.
        pressure: s_e at first, at least 1; the paper's is 100.
        warm_up: the number of uniform epochs before; the paper's is 15.
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
        classes: int,
        *,
        history: int = 10,
        pressure: float = 100.0,
        warm_up: int = 15,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        epochs = check_integer("epochs", epochs, 1)
        classes = check_integer("classes", classes, 2)
        pressure = check_number("pressure", pressure, 1)
        history = check_integer("history", history, 1)
        memory = SampleMemory(
            size, track=("labels",), history=history, classes=classes, on_fault=on_fault
        )
        super().__init__(size, warm_up=warm_up, block=None, seed=seed, memory=memory)
        self.epochs = epochs
        self.classes = classes
        self.history = history
        self.pressure = pressure

    def sample_weights(self, epoch: int) -> Tensor:
        """exp(-Q ln(s_e) / N), [N] float64."""
        pressure = selection_pressure(epoch, self.warm_up, self.epochs, self.pressure)
        uncertainty = self.memory.label_entropy().nan_to_num(nan=1.0).double()
        return weights_by_rank(uncertainty.neg_().add_(1).mul_(self.size).ceil_(), pressure)
