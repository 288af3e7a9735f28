"""Batch loss scores: pruning where only the mean loss of each mini-batch is known."""

import math
from typing import ClassVar, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_number
from impsamp_fast._faults import OnFault
from impsamp_fast.dataset._feedback import Feedback
from impsamp_fast.dataset._pruning import WeightedPruning


@final
class BatchLossPruning(WeightedPruning):
    r"""Leaves out samples as InfoBatch does, by the losses of the batches that they were in.

    Zhou et al. (2026): after a step on a mini-batch of mean loss :math:`\bar L` the score of each
    of its samples becomes :math:`s \leftarrow \alpha s + (1 - \alpha) \bar L`, and
    :class:`InfoBatch` prunes by these scores in place of the samples' own losses. The weights make
    an epoch's sum unbiased, as InfoBatch's do.

    Where it is ours: a sample's first score is the first :math:`\bar L` itself, and until then it
    is kept. ``update`` needs ``losses``, of which only the mean is looked at, or ``logits`` and
    ``target``.

    5 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        alpha: in [0, 1); 0.7 is what the authors' code shows.
        ratio: which share of the samples of small score is left out, in [0, 1).
        full_after: from which share of the epochs on all samples are trained on, at least 0.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    tables: ClassVar = WeightedPruning.tables | {"score": (torch.float32, math.nan)}

    memory: Feedback

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        alpha: float = 0.7,
        ratio: float = 0.5,
        full_after: float = 0.875,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        alpha = check_number("alpha", alpha, 0, 1)
        memory = Feedback(size, "loss", self._learn, on_fault)
        super().__init__(size, epochs, ratio=ratio, full_after=full_after, seed=seed, memory=memory)
        self.alpha = alpha

    def scores(self) -> Tensor:
        """The scores, [N] float32, NaN where there is none."""
        self.memory.fetch()
        return self._tables["score"]

    def _learn(self, index: Tensor, losses: Tensor) -> None:
        if len(losses) == 0:
            return
        scores, mean = self._tables["score"], losses.to(torch.float32).mean()
        known = scores[index]
        scores[index] = torch.where(known.isnan(), mean, torch.lerp(mean, known, self.alpha))
