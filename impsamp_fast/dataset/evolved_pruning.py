"""ESWP: epochs of the samples that evolved sampling prefers."""

import math
from typing import ClassVar, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._faults import OnFault
from impsamp_fast._fill_up import fill_up
from impsamp_fast._seeds import second_seed
from impsamp_fast.dataset._feedback import Feedback
from impsamp_fast.dataset._pruning import share_of
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled
from impsamp_fast.ops import draw


@final
class EvolvedPruning(DatasetSampler):
    r"""Trains each epoch on a share of the samples, drawn by their losses of now and before.

    ESWP, evolved sampling with pruning, of Cheng, Li and Bian (2025), from memory of their paper:
    with a sample's loss L and the moving average s of its losses, its weight is
    :math:`w = \beta_1 s + (1 - \beta_1) L`, and then
    :math:`s \leftarrow \beta_2 s + (1 - \beta_2) L`; a share r of the samples is left out of an
    epoch, and the others are drawn one after the other by w. Nothing is weighted: an epoch's mean
    loss is biased towards large losses. Within the epoch the paper draws each mini-batch from a
    large batch by the same weights: strategy "es", with large batches of this sampler's.

    Where it is ours: the first epoch is of all samples; a sample without an average has L in its
    place; one that was never seen has the mean of all w, and a negative w counts as 0; and the last
    epochs, from ``full_after`` times ``epochs`` on, are of all samples, as InfoBatch's are.
    ``update`` needs ``losses``, or ``logits`` and ``target``.

    8 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        ratio: r, in [0, 1); the default is ours.
        beta1: the share of s in w, in [0, 1]; from memory, the paper's is 0.2.
        beta2: how slowly s follows the losses, in [0, 1]; from memory, the paper's is 0.9.
        full_after: from which share of the epochs on all samples are trained on, at least 0.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    tables: ClassVar = {
        "average": (torch.float32, math.nan),  # s
        "score": (torch.float32, math.nan),  # w
    }

    memory: Feedback

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        ratio: float = 0.2,
        beta1: float = 0.2,
        beta2: float = 0.9,
        full_after: float = 0.875,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        self.beta1 = check_number("beta1", beta1, 0, 1, open_high=False)
        self.beta2 = check_number("beta2", beta2, 0, 1, open_high=False)
        super().__init__(size, seed=seed, memory=Feedback(size, "loss", self._learn, on_fault))
        self.epochs = check_integer("epochs", epochs, 1)
        self.ratio = check_number("ratio", ratio, 0, 1)
        self.full_after = check_number("full_after", full_after, 0)

    def length(self, epoch: int) -> int:
        """N less the share that is left out, or N in the first epoch and in the last ones."""
        if epoch == 0 or epoch >= self.full_after * self.epochs:
            return self.size
        return self.size - share_of(self.size, self.ratio)

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """The whole epoch, in random order."""
        order = shuffled(wanted, seed)
        if wanted == self.size:
            return order
        self.memory.fetch()
        score = self._tables["score"]
        mean = score.nanmean(dtype=torch.float64).item()
        weight = score.nan_to_num(nan=1.0 if math.isnan(mean) else mean).clamp_(min=0)
        if (weight > 0).sum() < wanted:
            return fill_up(weight, None, wanted, second_seed(seed)).index[order]
        return draw(weight, wanted, method="race", seed=second_seed(seed)).index[order]

    def _learn(self, index: Tensor, losses: Tensor) -> None:
        losses = losses.to(torch.float32)
        average = self._tables["average"][index]
        average = torch.where(average.isnan(), losses, average)
        self._tables["score"][index] = torch.lerp(losses, average, self.beta1)
        self._tables["average"][index] = torch.lerp(losses, average, self.beta2)
