"""Scores that learn from the steps."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from impsamp_fast._faults import OnFault, marked
from impsamp_fast._settings import ShowsSettings
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch.second_model import Mark, SecondModel, unmarked
from impsamp_fast.ops import score


class LearnedScore(ShowsSettings, ABC):
    """A score of a :class:`~impsamp_fast.Selector` that remembers what the steps have shown.

    It is called as a score function is, with the logits [K, C] and ``y`` of rows, and with ``x``
    and ``index`` where its ``__call__`` has parameters of these names. After a large batch was
    scored and drawn from, ``learn`` is called once with the same of all its rows. The state is part
    of the Selector's; a score belongs to one Selector.

    A score of your own derives from this class and implements what is abstract. A graph step does
    not take it, since its replays would teach it nothing.
    """

    _loss = TrainedLoss(0.0, None, -100)
    _on_fault: OnFault = "raise"
    _mark: Mark = staticmethod(unmarked)
    _model: SecondModel | None = None  # if the score has a model of its own

    @abstractmethod
    def __call__(self, logits: Tensor, y: Tensor, **further: Any) -> Tensor:
        """The scores [K], floating point; it changes nothing."""

    @abstractmethod
    def learn(self, logits: Tensor, y: Tensor, **further: Any) -> None:
        """Takes in a large batch that was drawn from."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What was learned: plain containers, numbers and tensors, as copies."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from such a state; after an error all is as it was."""

    @final
    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """The losses [K] as the Selector's loss has them; NaN for faulty rows that are skipped."""
        options = self._loss.options(y.device)

        def operator(logits: Tensor, y: Tensor) -> Tensor:
            return score(logits, y, "loss", **options)

        return operator(logits, y) if self._on_fault == "raise" else marked(operator, logits, y)

    @final
    def is_known(self, losses: Tensor, y: Tensor) -> Tensor:
        """Which rows have a loss to learn, [K] bool: none without a target, and no faulty ones.

        None at all of a step that fails for a faulty row.
        """
        ignored = self._loss.ignored(y)
        known = losses.isfinite()
        if ignored is not None:
            known = known & ~ignored
        if self._on_fault == "raise":
            faulty = losses.isnan() if ignored is None else losses.isnan() & ~ignored
            known = known & ~faulty.any()
        return known

    @final
    def attach(self, loss: TrainedLoss, on_fault: OnFault, mark: Mark) -> None:
        """Is told by its Selector what is trained, and of its settings and its clock."""
        self._loss, self._on_fault, self._mark = loss, on_fault, mark
        if self._model is not None:
            self._model.mark = mark

    @final
    def check_keys(self, state: Mapping[str, Any], *keys: str) -> None:
        """KeyError if a state is not of a score of this class."""
        if set(state) != set(keys):
            raise KeyError(
                f"the state of a {type(self).__name__} has the keys {sorted(keys)}, this one has "
                f"{sorted(state)}"
            )
