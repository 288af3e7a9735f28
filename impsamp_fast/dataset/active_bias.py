"""Active bias: the more the probability of a sample's true class varies, the likelier."""

from typing import Literal, final, get_args

import torch
from torch import Tensor

from impsamp_fast._checks import check_number
from impsamp_fast._faults import OnFault
from impsamp_fast.dataset._recording import RecordingSampler
from impsamp_fast.dataset.sample_memory import SampleMemory

Correction = Literal["normalized", "none"]


@final
class ActiveBias(RecordingSampler):
    r"""Draws samples by how uncertain their prediction is over the training.

    Chang et al. (2017): with the variance var of a sample's n probabilities of its true class so
    far, :math:`P \propto \sqrt{var + var^2 / (n - 1)} + \epsilon` (their SGD sampled by prediction
    variance). The losses are weighted by 1 / P, rescaled to mean 1 in each mini-batch, unless
    ``correction`` says otherwise.

    Where the paper leaves it open: var is the unbiased sample variance; a sample that was seen less
    than twice has a deviation of 0, so that :math:`\epsilon` alone is its weight; by default
    :math:`\epsilon` is the mean of all samples' deviations, which bounds the weights. A sample's
    weight is that of the block in which it was drawn last; a sample that was never drawn has the
    weight of a uniform draw. ``update`` needs ``logits`` and ``target``.

    16 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        warm_up: the number of uniform epochs before. The paper's burn-in differs from task to task;
            15 is that of the comparison by Song et al. (2020).
        epsilon: what is added to each deviation, positive; None is the mean of the deviations.
        correction: ``"normalized"`` for weights 1 / P with mean 1 in each mini-batch, ``"none"``
            for weights of 1.
        block: how many indices are drawn by the same P; None is the whole epoch.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    memory: SampleMemory

    def __init__(
        self,
        size: int,
        *,
        warm_up: int = 15,
        epsilon: float | None = None,
        correction: Correction = "normalized",
        block: int | None = None,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        if epsilon is not None:
            epsilon = check_number("epsilon", epsilon, 0, open_low=True)
        if correction not in get_args(Correction):
            raise ValueError(f'correction is {correction!r}, expected "normalized" or "none"')
        memory = SampleMemory(size, track=("p_true",), on_fault=on_fault)
        super().__init__(size, warm_up=warm_up, block=block, seed=seed, memory=memory)
        self.epsilon = epsilon
        self.correction = correction

    def sample_weights(self, epoch: int) -> Tensor:
        """The deviations and epsilon, [N] float32."""
        variance = self.memory.p_true_variance
        deviation = (variance + variance.square() / (self.memory.seen - 1)).sqrt_()
        deviation.nan_to_num_(nan=0.0)
        # Added up in float64: a float32 sum of 10^8 numbers is not one.
        epsilon = deviation.mean(dtype=torch.float64) if self.epsilon is None else self.epsilon
        return deviation.add_(epsilon)

    def _weight(self, index: Tensor) -> Tensor:
        if self.correction == "none":
            return torch.ones(len(index), dtype=torch.float32, device="cpu")
        inverse = super()._weight(index)
        return inverse.div_(inverse.mean())
