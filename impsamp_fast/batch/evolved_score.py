"""The scores of evolved sampling."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_number
from impsamp_fast.batch._sample_table import SampleTable
from impsamp_fast.batch.learned_score import LearnedScore


@final
class EvolvedScore(LearnedScore):
    r"""Scores a row by its loss and a moving average of the losses that its sample had before.

    Cheng, Li and Bian (2025), from memory of their paper: with the loss L of a sample and its
    average s, the score is :math:`w = \beta_1 s + (1 - \beta_1) L`, and then
    :math:`s \leftarrow \beta_2 s + (1 - \beta_2) L`. As w depends on the difference of L and s,
    :math:`\beta_1` and :math:`\beta_2` say which frequencies of the losses count.

    A sample without an average has L in its place, which is ours. 4 bytes per sample, on the device
    of the rows. Calls need ``index``.

    Args:
        beta1: in [0, 1]; from memory, the paper's is 0.2.
        beta2: in [0, 1]; from memory, the paper's is 0.9.
        size: N, the number of samples in the data set. None lets the table grow with the largest
            number that is seen, for which an accelerator is waited for.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(self, *, beta1: float = 0.2, beta2: float = 0.9, size: int | None = None) -> None:
        self.beta1 = check_number("beta1", beta1, 0, 1, open_high=False)
        self.beta2 = check_number("beta2", beta2, 0, 1, open_high=False)
        self.size = size
        self._average = SampleTable(size)

    def __call__(self, logits: Tensor, y: Tensor, index: Tensor) -> Tensor:  # type: ignore[override]
        """w, [K]."""
        losses = self.losses(logits, y)
        return torch.lerp(losses, self._averages(index, losses), self.beta1)

    def learn(self, logits: Tensor, y: Tensor, index: Tensor) -> None:  # type: ignore[override]
        """Takes in the losses of the samples."""
        losses = self.losses(logits, y)
        average = torch.lerp(losses, self._averages(index, losses), self.beta2)
        self._average.put(index, average, self.is_known(losses, y))

    def averages(self) -> Tensor:
        """s, [N] float32, a copy on the CPU; NaN for samples that were not seen."""
        return self._average.state()

    def state_dict(self) -> dict[str, Any]:
        """The ``average`` of each sample."""
        return {"average": self._average.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError, TypeError, ValueError)."""
        self.check_keys(state, "average")
        self._average.check(state["average"])
        self._average.load(state["average"])

    def _averages(self, index: Tensor, losses: Tensor) -> Tensor:
        average = self._average.at(index).to(losses.dtype)
        return torch.where(average.isnan(), losses, average)
