"""What a strategy's last steps took and came to, for its report and its start rule."""

from collections import deque
from collections.abc import Callable, Collection
from statistics import fmean, median, median_low
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from impsamp_fast.batch._metrics import Metrics, seconds_of
from impsamp_fast.batch._nested import as_given
from impsamp_fast.batch._row_drawer import Drawn
from impsamp_fast.batch._step_clock import StepClock
from impsamp_fast.batch.observation import Observation
from impsamp_fast.batch.report import Report
from impsamp_fast.batch.start import StartRule
from impsamp_fast.batch.step_time import StepTime

_TIMES = 63  # of steps of a kind that a report is about

# Timing takes microseconds: after so many calls one in so many is timed, unless a rule asks.
_ALL, _ONE_IN = 64, 8


# Who is told of each step.
Observe = Callable[[Observation], object]

# What is kept of a step, of which no part is as large as the logits: its number, whether it was by
# importance, K, the first fields of what was drawn and the targets of that.
_Step = tuple[int, bool, int, tuple[Any, ...], Any]


class StepLog:
    """Times the steps of a strategy and keeps what the last ones came to.

    Args:
        smoothing: the share of uniform sampling in what rows are drawn by.
        observe: is told of each step.
    """

    def __init__(self, smoothing: float = 0.0, observe: Observe | None = None) -> None:
        self._clock = StepClock()
        self._times = {kind: deque[StepTime](maxlen=_TIMES) for kind in (False, True)}
        self._latest: deque[StepTime] = deque(maxlen=_TIMES)  # of either kind
        self._unlearned: deque[StepTime] = deque(maxlen=_TIMES)  # that no rule was told of
        self._large: deque[int] = deque(maxlen=_TIMES)  # K of the last large batches
        self._calls = 0
        self._last: _Step | None = None
        self._last_by_importance: _Step | None = None
        self._smoothing = smoothing
        self._observe = observe
        self._metrics = Metrics()
        self.mark, self.stop = self._clock.mark, self._clock.stop

    def begin(self, device: torch.device, rule: StartRule) -> None:
        """Begins to time a call; a rule that asks for it learns what those before have taken."""
        self._calls += 1
        if rule.learns_times or self._calls <= _ALL or self._calls % _ONE_IN == 0:
            self._clock.begin(device)
        else:
            self._clock.end(device)
        if rule.learns_times:
            self._read()
            while self._unlearned:
                rule.learn_time(self._unlearned.popleft())
        elif self._observe is not None:
            self._read()

    def begin_uniform(self, device: torch.device, rule: StartRule) -> None:
        """Begins to time a step for which a mini-batch of uniform rows has waited."""
        self.begin(device, rule)
        self._clock.note(False, 1)

    def _read(self) -> None:
        for time in self._clock.ended():
            self._times[time.importance].append(time)
            self._latest.append(time)
            self._unlearned.append(time)

    def note(self, step: int, importance: bool, K: int, drawn: Drawn, y: Any) -> None:
        """What the call has come to, with the targets of the drawn rows."""
        last = self._last = (step, importance, K, drawn[:5], y)
        if not is_compiling():  # which would compile again as it grows
            self._large.append(K)
        if importance:
            self._last_by_importance = last
        # Those by importance share what scoring takes; uniform ones are steps of their own.
        self._clock.note(importance, len(drawn.sizes) if drawn.sizes and importance else 1)
        if self._observe is not None:
            self._observe(self._observation(last))

    def _observation(self, last: _Step) -> Observation:
        step, importance, K, (row, weight, tau, score, loss), y = last
        uniform_share = self._smoothing if importance else 1.0
        time = self._latest[-1] if self._latest else None
        return Observation(
            step, importance, K, score, loss, tau, row, weight, as_given(y), uniform_share, time
        )

    def metrics(self, wait: bool) -> dict[str, float]:
        """The last step as numbers, or one before it where an accelerator is not so far."""
        seen = None if self._last is None else self._observation(self._last)
        return self._metrics.read(seen, wait) | self.timings()

    def timings(self) -> dict[str, float]:
        """What the last step took whose time is known, and which of the last were by importance."""
        self._read()
        if not self._latest:
            return {}
        by_importance = sum(time.steps for time in self._latest if time.importance)
        share = by_importance / sum(time.steps for time in self._latest)
        return {"importance_share": share} | seconds_of(self._latest[-1])

    def note_steps(self, importance: bool, steps: int) -> None:
        """How many mini-batches there were since the step began."""
        self._clock.note(importance, steps)

    def report(
        self, n: int, m: int, *, weighted: bool, compiled: bool, compile_seconds: float | None
    ) -> Report:
        """The report of a selector of n rows in each of m mini-batches."""
        self._read()
        uniform, importance = (_medians(self._times[kind]) for kind in (False, True))
        steps = {kind: sum(time.steps for time in times) for kind, times in self._times.items()}
        large = self._large or [0 if self._last is None else self._last[2]]
        last = self._last_by_importance
        _, weight, tau, *_ = (None, None, None) if last is None else last[3]
        return Report(
            steps=sum(steps.values()),
            importance_share=steps[True] / max(1, sum(steps.values())),
            uniform=uniform["unscored"],
            importance=importance["whole"],
            scoring=importance["scoring"],
            selection=importance["selection"],
            gather=importance["gather"],
            second_model=importance["second_model"],
            training=importance["training"],
            tau=None if tau is None else float(tau),
            effective_size=None if weight is None else _effective_size(weight, n),
            n=n,
            K=median_low(large) // m or round(importance["scored"] or 0),
            batches_per_pool=m,
            weighted=weighted,
            compiled=compiled,
            compile_seconds=compile_seconds,
        )


def _medians(steps: Collection[StepTime]) -> dict[str, float | None]:
    """What steps of a kind took for each mini-batch; None of no steps."""

    def of(what: Callable[[StepTime], float]) -> float | None:
        return median(what(step) / step.steps for step in steps) if steps else None

    return {
        "whole": of(lambda step: step.whole),
        "unscored": of(lambda step: step.whole - step.scoring),
        "scoring": of(lambda step: step.scoring),
        "selection": of(lambda step: step.selection),
        "gather": of(lambda step: step.gather),
        "second_model": of(lambda step: step.second_model),
        "training": of(lambda step: step.training),
        "scored": of(lambda step: step.scored),
    }


def _effective_size(weight: Tensor, n: int) -> float:
    """Of the rows of mini-batches with weights [m n]: the mean of Kish's number over them."""
    parts = weight.detach().double().cpu().split(n)  # type: ignore[no-untyped-call]
    return fmean(float(part.sum() ** 2 / part.square().sum()) for part in parts)
