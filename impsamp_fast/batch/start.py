"""Start rules: from when, and while when, mini-batches are drawn by importance.

Early in training the scores of all samples are about equal, and scoring them costs a forward pass
of the large batch. A start rule decides before each step whether the pass is made.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._settings import ShowsSettings
from impsamp_fast.batch._readings import Readings
from impsamp_fast.batch.step_time import StepTime

# Steps without a loss after which LossRatio says so. Gradient accumulation and prefetching may ask
# for several mini-batches before the first loss.
_PATIENCE = 100


class StartRule(ShowsSettings, ABC):
    """Decides before each step whether its mini-batch is drawn by importance or uniformly.

    A :class:`~impsamp_fast.Selector` calls ``decide`` before a step, and gives ``learn`` one number
    per step of the kind that ``learns_from`` names:

    - ``"nothing"``: ``learn`` is never called;
    - ``"loss"``: the mini-batch's mean loss, when ``batch.mean`` has computed it;
    - ``"tau"``: the variance reduction of the rows that were scored, see
      :func:`~impsamp_fast.select`. A uniform step then scores its n rows with one forward pass
      without gradients.

    A rule of your own derives from this class and implements what is abstract.
    """

    learns_from: Literal["nothing", "loss", "tau"]
    learns_times: ClassVar[bool] = False  # whether learn_time is called

    @abstractmethod
    def decide(self, step: int, K: int, n: int) -> bool:
        """Whether to draw by importance in step ``step`` (from 0), n rows of a large batch of K."""

    @abstractmethod
    def learn(self, value: Tensor) -> None:
        """Takes in the number of a step, a scalar tensor without gradient, on any device."""

    def wants_tau(self, n: int) -> bool:
        """Whether a uniform step should score its n rows, of a rule that learns from tau."""
        return True

    def learn_time(self, time: StepTime) -> None:
        """Takes in what a step took, some steps later on an accelerator."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What the rule has learned so far; not its constructor's arguments."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned; KeyError if it is another rule's."""


class _Stateless(StartRule):
    """A rule that goes by the step alone."""

    learns_from = "nothing"

    def learn(self, value: Tensor) -> None:
        """Ignores the number."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: there is nothing to remember."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Accepts the empty state only (KeyError)."""
        check_keys(self, state)


@final
class Always(_Stateless):
    """Importance sampling from the first step."""

    def decide(self, step: int, K: int, n: int) -> bool:
        """True."""
        return True


@final
class After(_Stateless):
    """Importance sampling after a number of uniform steps.

    Args:
        steps: the number of uniform steps, at least 0.

    Raises:
        TypeError: if ``steps`` is not an integer.
        ValueError: if ``steps`` is negative.
    """

    def __init__(self, steps: int) -> None:
        steps = check_integer("steps", steps, 0)
        self.steps = steps

    def decide(self, step: int, K: int, n: int) -> bool:
        """True once ``steps`` steps have been done."""
        return step >= self.steps


@final
class LossRatio(StartRule):
    """Importance sampling once the loss has fallen below a share of its first value, and for good.

    The rule of Knutsson et al. (2023): uniform until the loss of a mini-batch is less than
    ``threshold`` times the loss of the first one; it latches. Their thresholds: 0.26 for Two
    Circles, 0.42 for MNIST, 0.50 for CIFAR-10, 0.74 for PatchCamelyon.

    The losses come from ``batch.mean``. Those of an accelerator are read in groups of 16, each when
    the next one is complete, so that the host does not wait for the device; the start is then up to
    32 steps late. A loss that is not finite (autocast's first steps) counts neither as the first
    nor as small. A loss of 0 before the first positive one (all rows were ignored) counts as not
    heard.

    Args:
        threshold: the share of the first loss, positive.

    Raises:
        TypeError: if ``threshold`` is not a number.
        ValueError: if ``threshold`` is not positive and finite; in ``learn``, if the first loss is
            negative.
        RuntimeError: in ``decide``, after 100 steps in which no loss was heard.
    """

    learns_from = "loss"

    def __init__(self, threshold: float) -> None:
        self.threshold = check_number("threshold", threshold, 0, open_low=True)
        self._started = False
        self._first: float | None = None
        self._readings = Readings()
        self._steps_without_loss = 0
        self._zeros = 0  # losses of 0, as long as there is no first loss

    def decide(self, step: int, K: int, n: int) -> bool:
        """True from the step after the loss fell below the threshold."""
        if not self._started:
            self._steps_without_loss += 1
            if self._steps_without_loss > _PATIENCE:
                raise RuntimeError(
                    f"LossRatio has heard no loss in {_PATIENCE} steps other than 0, so it would "
                    "never start: compute the loss with batch.mean(losses), or use After(steps)"
                )
        return self._started

    def learn(self, value: Tensor) -> None:
        """Takes in the mean loss of a mini-batch."""
        if self._started:
            return
        for loss in self._readings.take(value):
            self._hear(loss)
        # A loss that waits to be read counts as heard, until it turns out to be 0.
        self._steps_without_loss = self._zeros

    def _hear(self, loss: float) -> None:
        if not math.isfinite(loss):
            return
        if self._first is None:
            if loss == 0:
                self._zeros += 1
                return
            if loss < 0:
                raise ValueError(
                    f"the first loss is {loss}, and LossRatio needs a positive one to compare "
                    "with: use After(steps) or VarianceReduction() for such a loss"
                )
            self._first = loss
            self._zeros = 0
        self._started = self._started or loss < self.threshold * self._first

    def state_dict(self) -> dict[str, Any]:
        """``started``, the ``first`` loss, and the losses ``unread`` so far."""
        return {"started": self._started, "first": self._first, "unread": self._readings.unread()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError otherwise)."""
        check_keys(self, state, "started", "first", "unread")
        self._steps_without_loss = 0
        self._zeros = 0
        self._started = state["started"]
        self._first = state["first"]
        self._readings = Readings(state["unread"])


@final
class VarianceReduction(StartRule):
    r"""Importance sampling while it reduces the variance enough to pay for the scoring.

    The rule of Katharopoulos and Fleuret (2018, section 3.3, algorithm 1). With g the normalised
    scores of the K rows that were scored, :math:`\tau = \sqrt{K \sum_i g_i^2}` says what importance
    sampling gains: as much as a mini-batch :math:`\tau` times as large. A moving average,
    ``momentum * average + (1 - momentum) * tau`` from 0, is compared with the threshold before
    each step; the rule switches on and off again. In uniform steps tau comes from the n rows of
    the mini-batch, which costs one forward pass of n rows; if all of them are ignored, there is
    nothing to learn from the step.

    The numbers of an accelerator are read in groups of 16, each when the next one is complete, so
    that the host does not wait for the device; a switch is then up to 32 steps late. A tau that is
    not finite is left out.

    Args:
        threshold: the average above which rows are drawn by importance. None is the break-even
            (K + 3 n) / (3 n) of a backward pass that costs twice the forward pass; the authors
            used 1.5 for CIFAR.
        momentum: of the moving average, in [0, 1).

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if ``threshold`` is not finite, or ``momentum`` out of its range.
    """

    learns_from = "tau"

    def __init__(self, threshold: float | None = None, momentum: float = 0.9) -> None:
        self.threshold = None if threshold is None else check_number("threshold", threshold)
        self.momentum = check_number("momentum", momentum, 0, 1)
        self._average = 0.0
        self._readings = Readings()

    @property
    def average(self) -> float:
        """The moving average of tau."""
        return self._average

    def decide(self, step: int, K: int, n: int) -> bool:
        """True while the average of tau is above the threshold."""
        threshold = (K + 3 * n) / (3 * n) if self.threshold is None else self.threshold
        return self._average > threshold

    def learn(self, value: Tensor) -> None:
        """Takes in the tau of a step."""
        for tau in self._readings.take(value):
            if math.isfinite(tau):
                self._average = self.momentum * self._average + (1 - self.momentum) * tau

    def state_dict(self) -> dict[str, Any]:
        """The ``average`` of tau, and the values ``unread`` so far."""
        return {"average": self._average, "unread": self._readings.unread()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError otherwise)."""
        check_keys(self, state, "average", "unread")
        self._average = state["average"]
        self._readings = Readings(state["unread"])


def check_keys(rule: StartRule, state: Mapping[str, Any], *keys: str) -> None:
    """Checks that a state is of a rule of this class (KeyError)."""
    if set(state) != set(keys):
        raise KeyError(
            f"the state of a {type(rule).__name__} has the keys {sorted(keys)}, this one has "
            f"{sorted(state)}: load it into a rule of the class that saved it"
        )
