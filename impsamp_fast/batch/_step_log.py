"""What a strategy's last steps took and came to, for its report and its start rule."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from statistics import fmean, median

import torch
from torch import Tensor

from impsamp_fast.batch._row_drawer import Drawn
from impsamp_fast.batch._step_clock import StepClock
from impsamp_fast.batch.report import Report
from impsamp_fast.batch.start import StartRule
from impsamp_fast.batch.step_time import StepTime

_TIMES = 63  # of steps of a kind that a report is about

# Timing takes microseconds: after so many calls one in so many is timed, unless a rule asks.
_ALL, _ONE_IN = 64, 8


class StepLog:
    """Times the steps of a strategy and keeps what the last ones came to."""

    def __init__(self) -> None:
        self._clock = StepClock()
        self._times = {kind: deque[StepTime](maxlen=_TIMES) for kind in (False, True)}
        self._calls = 0
        self._large = 0  # K of the last large batch
        self._drawn: tuple[Tensor | None, Tensor] | None = None  # tau and weights, by importance
        self.mark, self.stop = self._clock.mark, self._clock.stop

    def begin(self, device: torch.device, rule: StartRule) -> None:
        """Begins to time a call; a rule that asks for it learns what those before have taken."""
        self._calls += 1
        if rule.learns_times or self._calls <= _ALL or self._calls % _ONE_IN == 0:
            self._clock.begin(device)
        else:
            self._clock.end(device)
        if rule.learns_times:
            for time in self._read():
                rule.learn_time(time)

    def _read(self) -> Iterator[StepTime]:
        for time in self._clock.ended():
            self._times[time.importance].append(time)
            yield time

    def note(self, importance: bool, drawn: Drawn, K: int) -> None:
        """What the call has come to."""
        self._large = K
        if importance:
            self._drawn = drawn.tau, drawn.weight
        self._clock.note(importance, 1 if drawn.sizes is None else len(drawn.sizes))

    def note_steps(self, importance: bool, steps: int) -> None:
        """How many mini-batches there were since the step began."""
        self._clock.note(importance, steps)

    def report(
        self, n: int, m: int, *, weighted: bool, compiled: bool, compile_seconds: float | None
    ) -> Report:
        """The report of a selector of n rows in each of m mini-batches."""
        for _ in self._read():
            pass
        uniform, importance = (_medians(self._times[kind]) for kind in (False, True))
        steps = {kind: sum(time.steps for time in times) for kind, times in self._times.items()}
        tau, weight = self._drawn or (None, None)
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
            K=self._large // m or round(importance["scored"] or 0),
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
