"""Where the time of a step goes, measured after the run so that its clock is left alone.

The stages of a step are written out and timed one by one, on the run's own model and data. Each is
the median over many steps. A whole step with the Selector is timed alongside; what it takes beyond
the sum of its stages is "other": the Python around them.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.peers import row_loop_grad_norm
from bench.strategies import SelectorPicker, make_selector
from bench.train import Training
from impsamp_fast import Always, select

FEWEST, MOST, MOST_SECONDS = 3, 200, 1.0  # steps timed
STAGES = ("forward", "select", "gather", "train", "other")


def measure(training: Training) -> dict[str, float]:
    """Median microseconds of each stage, and of the "step"; absent stages are 0."""
    stages = {"uniform": uniform_step, "loop": row_loop_step, "selector": selector_step}
    time_one_step = stages[kind(training)](training)
    time_one_step()  # the first call meets cold caches
    samples: list[dict[str, float]] = []
    end = time.perf_counter() + MOST_SECONDS
    while len(samples) < FEWEST or (len(samples) < MOST and time.perf_counter() < end):
        samples.append(time_one_step())
    names = samples[0].keys()
    split = {name: 1e6 * median(sample[name] for sample in samples) for name in names}
    measured = sum(split.values()) - split["step"]
    split["other"] = split["step"] - measured
    return {name: round(split.get(name, 0.0), 2) for name in (*STAGES, "step")}


def kind(training: Training) -> str:
    if training.strategy.score is None:
        return "uniform"
    return "loop" if training.strategy.row_loop else "selector"


def uniform_step(training: Training) -> Callable[[], dict[str, float]]:
    def step() -> dict[str, float]:
        begin = time.perf_counter()
        training.step()
        elapsed = time.perf_counter() - begin
        return {"train": elapsed, "step": elapsed}

    return step


def row_loop_step(training: Training) -> Callable[[], dict[str, float]]:
    """The loop makes the forward passes too; all of it counts as selecting."""

    def step() -> dict[str, float]:
        x, y, _ = training.stream.next()
        clock = [time.perf_counter()]
        norm = row_loop_grad_norm(training.model, x, y)
        rows = torch.multinomial(norm, training.task.mini, replacement=True)
        clock.append(time.perf_counter())
        picked_x, picked_y = x[rows], y[rows]
        clock.append(time.perf_counter())
        training.update(F.cross_entropy(training.model(picked_x), picked_y))
        clock.append(time.perf_counter())
        return spans(("select", "gather", "train"), clock) | {"step": clock[-1] - clock[0]}

    return step


def selector_step(training: Training) -> Callable[[], dict[str, float]]:
    strategy, model, n = training.strategy, training.model, training.task.mini
    assert strategy.score is not None
    selector = make_selector(strategy, model, n, Always(), None, seed=0)
    score, method, correction = strategy.score, strategy.method, strategy.correction

    picker = SelectorPicker(model, training.task.large, selector)

    def train(x: Tensor, y: Tensor, weight: Tensor) -> None:
        if correction == "none":  # as the picker does
            training.update(F.cross_entropy(model(x), y))
        else:
            losses = F.cross_entropy(model(x), y, reduction="none")
            training.update((losses * weight).mean())

    def step() -> dict[str, float]:
        x, y, _ = training.stream.next()
        clock = [time.perf_counter()]
        with torch.no_grad():
            logits = model(x)
        clock.append(time.perf_counter())
        selection = select(logits, y, n, score=score, method=method, correction=correction)
        clock.append(time.perf_counter())
        picked_x, picked_y = x[selection.index], y[selection.index]
        clock.append(time.perf_counter())
        train(picked_x, picked_y, selection.weight)
        clock.append(time.perf_counter())
        parts = spans(("forward", "select", "gather", "train"), clock)

        x, y, _ = training.stream.next()
        begin = time.perf_counter()
        training.update(picker.loss(x, y, None))
        return parts | {"step": time.perf_counter() - begin}

    return step


def spans(names: tuple[str, ...], clock: list[float]) -> dict[str, float]:
    return {name: clock[i + 1] - clock[i] for i, name in enumerate(names)}
