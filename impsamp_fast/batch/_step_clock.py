"""Times the steps of a training loop as it runs."""

import time
from collections import deque
from collections.abc import Iterator

import torch

from impsamp_fast.batch.step_time import StepTime

# Calls that are kept for one who asks.
_KEPT = 126

# When something happened: seconds on the host's clock, or an event on a CUDA stream.
_Moment = float | torch.cuda.Event


class StepClock:
    """Times calls from begin to begin: by the host's clock on the CPU, by events on CUDA.

    Events are read when they have come, so that nobody waits for a device. What other devices do
    in the background is not seen.
    """

    def __init__(self) -> None:
        self._lap: _Lap | None = None
        self._ended: deque[_Lap] = deque(maxlen=_KEPT)

    def begin(self, device: torch.device) -> None:
        """A call begins, and with it ends the one before."""
        now = _now(device)
        self._end(now, device)
        self._lap = None if now is None else _Lap(now, device)

    def end(self, device: torch.device) -> None:
        """The call before ends, and this one is not timed."""
        if self._lap is not None:
            self._end(_now(device), device)

    def _end(self, now: _Moment | None, device: torch.device) -> None:
        lap, self._lap = self._lap, None
        if lap is None or now is None or lap.importance is None or lap.device != device:
            return
        lap.moments.append(now)
        self._ended.append(lap)

    def stop(self) -> None:
        """The call under way is not timed."""
        self._lap = None

    def mark(self, stage: str, scored: int = 0) -> None:
        """What was done since the last mark of this call was this stage of it."""
        lap = self._lap
        if lap is None:
            return
        now = time.perf_counter() if lap.on_cpu else _now(lap.device)
        if now is None:
            self._lap = None
            return
        lap.moments.append(now)
        lap.stages.append(stage)
        lap.scored += scored

    def note(self, importance: bool, steps: int) -> None:
        """What the call has come to."""
        if self._lap is not None:
            self._lap.importance, self._lap.steps = importance, steps

    def ended(self) -> Iterator[StepTime]:
        """The last calls that have ended and are known, oldest first, each once."""
        while self._ended and _has_come(self._ended[0].moments[-1]):
            yield self._ended.popleft().time()

    def __reduce__(self) -> tuple[type["StepClock"], tuple[()]]:
        """A copy is a new clock: moments mean nothing to it."""
        return StepClock, ()


class _Lap:
    """A call under way, or one whose moments have not been read."""

    __slots__ = ("device", "importance", "moments", "on_cpu", "scored", "stages", "steps")

    def __init__(self, begin: _Moment, device: torch.device) -> None:
        self.moments = [begin]
        self.stages: list[str] = []
        self.scored = 0
        self.device = device
        self.on_cpu = device.type == "cpu"
        self.importance: bool | None = None  # until the call has come to something
        self.steps = 1

    def time(self) -> StepTime:
        seconds = dict.fromkeys(("scoring", "selection", "gather", "second_model"), 0.0)
        for i, stage in enumerate(self.stages):
            if stage != "training":  # which is all that is left
                seconds[stage] += _seconds(self.moments[i], self.moments[i + 1])
        whole = _seconds(self.moments[0], self.moments[-1])
        return StepTime(bool(self.importance), self.steps, self.scored, whole, **seconds)


def _now(device: torch.device) -> _Moment | None:
    """This moment; None while a CUDA graph is captured, where no time passes."""
    if device.type != "cuda":
        return time.perf_counter()
    if torch.cuda.is_current_stream_capturing():
        return None
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def _has_come(moment: _Moment) -> bool:
    return isinstance(moment, float) or bool(moment.query())  # type: ignore[no-untyped-call]


def _seconds(begin: _Moment, end: _Moment) -> float:
    if isinstance(begin, float):
        assert isinstance(end, float)
        return end - begin
    assert not isinstance(end, float)
    return float(begin.elapsed_time(end)) / 1e3
