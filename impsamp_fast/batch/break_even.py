"""Importance sampling while it pays by the clock."""

from collections import deque
from collections.abc import Iterable, Mapping
from statistics import fmean, median
from typing import Any, final

from torch import Tensor

from impsamp_fast._checks import check_number
from impsamp_fast.batch._readings import Readings
from impsamp_fast.batch.start import StartRule, check_keys
from impsamp_fast.batch.step_time import StepTime

# How many of the last values count: times by their median, since a step in which the caller
# evaluates is none; tau by its mean.
_TIMES, _TAUS = 15, 4

# Steps of a kind before their median counts: the first ones are slow.
_WARM_UP = 3

# Time lent for finding out at the beginning, in uniform steps, half of it within so many steps:
# what the first ones tell is soon out of date.
_LOAN, _HALF_LENT = 5, 200

# While it is on, one step in so many is uniform, to know what such a step takes by now.
_REFRESH = 256


@final
class BreakEven(StartRule):
    r"""Importance sampling while the variance that it saves is worth the time that it takes.

    A mini-batch drawn by importance is as good as a uniform one :math:`\tau` times as large
    (Katharopoulos and Fleuret 2018), so it pays while :math:`\tau` exceeds the time of a step by
    importance over that of a uniform one. Both are measured as the training runs, from one call of
    the selector to the next: by the host's clock on the CPU, by events on CUDA. The rule switches
    on above ``1 + margin`` times the break-even and off below 1 / (1 + margin) times it.

    While it is off it looks at :math:`\tau` of the rows of a uniform mini-batch now and then, which
    also tells what scoring takes, and tries a whole step by importance if there may be something to
    gain; all of that together takes no more than ``probes`` of the time and five uniform steps, by
    the fastest that scoring was of late. It pays as much as :math:`\tau` says only at a learning
    rate that suits the better mini-batches. Which steps are by importance depends on the clock: no
    two runs are the same.

    Only for a selector with weights that make the mini-batch's mean unbiased, or nearly so: without
    a correction :math:`\tau` does not say what a step is worth.

    Args:
        margin: of the hysteresis, at least 0.
        probes: the share of the time that goes into finding out, in (0, 1).

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if one is out of its range.
    """

    learns_from = "tau"
    learns_times = True

    def __init__(self, margin: float = 0.05, probes: float = 0.01) -> None:
        self.margin = check_number("margin", margin, 0)
        self.probes = check_number("probes", probes, 0, 1, open_low=True)
        self._on = False
        self._uniform: deque[float] = deque(maxlen=_TIMES)  # seconds of a step
        self._importance: deque[float] = deque(maxlen=_TIMES)  # likewise
        self._per_row: deque[float] = deque(maxlen=_TIMES)  # seconds of scoring a row
        self._taus: deque[float] = deque(maxlen=_TAUS)
        self._readings = Readings()
        self._probed = 0.0  # seconds
        self._steps = self._since_uniform = 0

    @property
    def tau(self) -> float | None:
        """The mean of the last values; None before the first."""
        return fmean(self._taus) if self._taus else None

    def cost(self, K: int) -> float | None:
        """A step by importance over a uniform one, K rows scored for each; None if not known."""
        if len(self._uniform) < _WARM_UP:
            return None
        uniform = median(self._uniform)
        if len(self._importance) >= _WARM_UP:
            return median(self._importance) / uniform
        return 1 + self._scoring(K) / uniform if self._per_row else None

    def decide(self, step: int, K: int, n: int) -> bool:
        """True while it pays, and now and then to find out."""
        cost, tau = self.cost(K), self.tau
        if cost is None or tau is None:
            return False
        if self._on:
            self._on = tau > cost / (1 + self.margin)
            self._since_uniform += 1
            refresh = self._since_uniform >= _REFRESH
            self._since_uniform = 0 if refresh else self._since_uniform
            return self._on and not refresh
        if tau > cost * (1 + self.margin):
            self._importance.clear()  # measured long ago, if at all
            self._on = True
            return True
        # Few rows may take longer each than many: a whole step tells what it takes.
        least = 1.0 if self._importance else 1 + self._scoring(n) / median(self._uniform)
        return tau > least * (1 + self.margin) and self._may_take(K)

    def wants_tau(self, n: int) -> bool:
        """Whether a uniform step should score its rows."""
        if len(self._uniform) < _WARM_UP:
            return False
        # Half is left to whole steps, which take longer.
        return not self._taus or self._may_take(n, share=0.5)

    def learn(self, value: Tensor) -> None:
        """Takes in the tau of a step."""
        self._taus.extend(tau for tau in self._readings.take(value) if tau >= 1)

    def learn_time(self, time: StepTime) -> None:
        """Takes in what a step took."""
        self._steps += time.steps
        if time.importance:
            self._importance.append(time.whole / time.steps)
        else:
            self._uniform.append((time.whole - time.scoring) / time.steps)
        # Once it is known what many rows take, few of them say less.
        if time.scored and (time.importance or not self._importance):
            self._per_row.append(time.scoring / time.scored)
        if not (time.importance and self._on):
            self._probed += self._scoring(time.scored)

    def _scoring(self, rows: int) -> float:
        """Seconds that scoring so many rows takes at best; 0 as long as nothing is known.

        A step that something else has held up would otherwise keep it from looking again.
        """
        return rows * min(self._per_row, default=0.0)

    def _may_take(self, rows: int, share: float = 1.0) -> bool:
        """Whether so many rows may be scored to find out, within a share of what may be spent."""
        # By steps: the whole time has evaluations in it, and whatever else the caller does.
        lent = _LOAN * self._steps / (self._steps + _HALF_LENT)
        allowed = (self.probes * self._steps + lent) * median(self._uniform)
        return self._probed + self._scoring(rows) <= share * allowed

    def state_dict(self) -> dict[str, Any]:
        """Whether it is ``on``, and all that was measured so far."""
        return {
            "on": self._on,
            "uniform": list(self._uniform),
            "importance": list(self._importance),
            "per_row": list(self._per_row),
            "taus": list(self._taus),
            "unread": self._readings.unread(),
            "probed": self._probed,
            "steps": self._steps,
            "since_uniform": self._since_uniform,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError otherwise)."""
        check_keys(self, state, *self.state_dict())
        self._on = state["on"]
        self._uniform = _last(state["uniform"], _TIMES)
        self._importance = _last(state["importance"], _TIMES)
        self._per_row = _last(state["per_row"], _TIMES)
        self._taus = _last(state["taus"], _TAUS)
        self._readings = Readings(state["unread"])
        self._probed = state["probed"]
        self._steps = state["steps"]
        self._since_uniform = state["since_uniform"]


def _last(values: Iterable[float], count: int) -> deque[float]:
    return deque(values, maxlen=count)
