"""Times of calls: candidates in turns, so that a machine that slows down hits all alike."""

import time
from collections.abc import Callable
from statistics import quantiles

import torch

TURN_SECONDS = 0.005  # of one candidate: long beside the timer's resolution, short beside drift
TURNS = 41
PATIENCE_SECONDS = 120
DISTURBED_SECONDS = 0.001  # of an operation that takes some 20 us

Function = Callable[[], object]
Candidates = dict[str, Function]


def in_turns(candidates: Candidates, turns: int | None = None) -> dict[str, dict[str, float]]:
    """Quartiles over the turns of each candidate's microseconds per call.

    There are fewer turns where a call takes long, unless it is said how many.
    """
    calls = {name: calls_per_turn(function) for name, function in candidates.items()}
    if turns is None:
        slowest = max(time_of(function, 1) for function in candidates.values())
        turns = 11 if slowest > 0.05 else TURNS
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        wait_until_quiet()
        for name, function in candidates.items():
            samples[name].append(1e6 * time_of(function, calls[name]) / calls[name])
    return {name: summary(values) for name, values in samples.items()}


def wait_until_quiet() -> None:
    """Return once other programs leave the cores to us; SystemExit if they do not for long.

    Where one core is taken, threads wait for each other for milliseconds: two-thread candidates
    then look a thousand times slower than they are, and no median helps.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    shared = torch.ones(2**17)  # large enough for torch to share an addition among its threads
    while max(time_of(lambda: shared + shared, 1) for _ in range(10)) > DISTURBED_SECONDS:
        if time.monotonic() > end:
            raise SystemExit(
                f"other programs have kept the cores busy for {PATIENCE_SECONDS} s: a ratio "
                "measured now would be wrong; try again when the machine is idle"
            )
        time.sleep(0.1)


def calls_per_turn(function: Function) -> int:
    time_of(function, 3)  # warm up
    return max(1, round(TURN_SECONDS / (time_of(function, 5) / 5)))


def time_of(function: Function, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - begin


def summary(values: list[float]) -> dict[str, float]:
    low, median, high = quantiles(values, n=4)
    return {"median": round(median, 3), "low": round(low, 3), "high": round(high, 3)}
