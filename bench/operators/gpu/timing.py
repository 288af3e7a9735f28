"""Times on a GPU, by its own events: of calls from Python, and of what a CUDA graph replays.

A call returns before the GPU has done its work. Many calls in a row take as long as the slower of
the two, host or GPU, and that is what a training loop sees.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.operators.peers.peer import error_line
from bench.operators.timing import Candidates, Function, summary, time_of


@dataclass(frozen=True)
class Timer:
    """How to time: candidates in turns, so that a GPU that changes its clock hits all alike."""

    device: torch.device
    turn_seconds: float = 0.02
    turns: int = 25
    patience: float = 20.0  # seconds for all candidates of a case; at least three turns though

    def in_turns(self, candidates: Candidates) -> dict[str, dict[str, float]]:
        """Quartiles over the turns of each candidate's microseconds per call."""
        calls = {name: self._calls_per_turn(function) for name, function in candidates.items()}
        samples: dict[str, list[float]] = {name: [] for name in candidates}
        end = time.monotonic() + self.patience
        for turn in range(self.turns):
            if turn >= 3 and time.monotonic() > end:
                break
            for name, function in candidates.items():
                seconds = self.seconds_of(function, calls[name])
                samples[name].append(1e6 * seconds / calls[name])
        return {name: summary(values) for name, values in samples.items()}

    def seconds_of(self, function: Function, calls: int) -> float:
        """How long that many calls take, from when the device is idle until it is idle again."""
        if self.device.type == "cpu":
            return time_of(function, calls)
        gpu = torch.cuda if self.device.type == "cuda" else torch.mps
        gpu.synchronize()
        begin_event, end_event = (gpu.Event(enable_timing=True) for _ in range(2))
        begin_event.record()
        for _ in range(calls):
            function()
        end_event.record()
        end_event.synchronize()
        return begin_event.elapsed_time(end_event) / 1e3

    def _calls_per_turn(self, function: Function) -> int:
        self.seconds_of(function, 3)  # warm up
        return max(1, round(self.turn_seconds / max(self.seconds_of(function, 5) / 5, 1e-7)))


def rotating(function: Callable[..., object], inputs: Sequence[tuple[Any, ...]]) -> Function:
    """The function on one set of inputs after the other: none is in a cache when its turn comes."""
    sets = itertools.cycle(inputs)
    return lambda: function(*next(sets))


def graph_of(function: Callable[[], Any], calls: int) -> Callable[[], list[Any]]:
    """What replays so many calls of a function, captured in one CUDA graph.

    Returns the last call's result, which the next replay overwrites.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function()  # what is loaded or allocated at the first call cannot be captured
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    kept = []
    with torch.cuda.graph(graph):
        for _ in range(calls):
            kept.append(function())
            if len(kept) > 1:
                kept.pop(0)  # the next call takes its memory

    def replay() -> list[Any]:
        graph.replay()
        return kept

    return replay


def usable(peers: Candidates) -> tuple[Candidates, dict[str, str]]:
    """The peers that work on this machine, and what those say that do not: a peer less."""
    said = {name: failure_of(function) for name, function in peers.items()}
    works = {name: function for name, function in peers.items() if said[name] is None}
    return works, {name: failure for name, failure in said.items() if failure is not None}


def failure_of(function: Function) -> str | None:
    """The first line of the error that a call raises, if it raises one."""
    try:
        function()
    except Exception as error:
        return error_line(error)
    return None
