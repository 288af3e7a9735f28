"""What a step of a selector came to, for those who watch it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from impsamp_fast.batch.step_time import StepTime


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A step of a :class:`~impsamp_fast.Selector`, as ``observe`` is told.

    Tensors are detached, and on the device of the batch: whoever reads their values there makes the
    host wait. Those of a :class:`~impsamp_fast.GraphStep` are overwritten by the next step.

    Attributes:
        step: its number, from 0; the first of several mini-batches of one large batch.
        importance: whether its rows were drawn by importance, or uniformly.
        K: rows of the large batch.
        score: the scores of the rows that were scored, [K]: those that passed a filter, or of a
            uniform step the drawn rows [n] for a start rule that learns from tau, if any. From the
            rows of all ranks those that this one has scored. Before they are smoothed, of the dtype
            that :func:`~impsamp_fast.score` gives; None where no rows were scored.
        loss: their losses, where the operator has computed them along.
        tau: [], see :func:`~impsamp_fast.select`.
        row: [n], which rows of the large batch were drawn; -1 for those of other ranks.
        weight: [n].
        y: the targets of these rows; from the rows of all ranks of those that this one trains on,
            which with ``exchange=True`` come from any rank. None of a graph step.
        uniform_share: the share of uniform sampling in what the rows were drawn by: ``smoothing``
            where they were drawn by importance, otherwise 1.
        time: what the last step took whose time is known; None before.
    """

    step: int
    importance: bool
    K: int
    score: Tensor | None
    loss: Tensor | None
    tau: Tensor | None
    row: Tensor
    weight: Tensor
    y: Any
    uniform_share: float
    time: StepTime | None

    @property
    def effective_size(self) -> Tensor:
        """Of the drawn rows, (sum of weights)^2 / sum of squared weights: [], on the device."""
        return self.weight.sum().square() / self.weight.square().sum()
