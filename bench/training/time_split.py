"""Where the time of a step goes, measured after the run so that its clock is left alone.

The stages of a step are timed on the run's own model and data, over many steps. Where one call of
`select` makes the choice, they are written out and timed one by one; a whole step with the Selector
is timed alongside, and what it takes beyond the sum of its stages is "other": the Python around
them. Of every other strategy that picks from raw batches a step is timed as it runs, and "select"
is all that is neither a forward pass for scoring, nor the strategy's own model, nor training.

Fetching rows from the stream is training: uniform sampling does it as well.
"""

import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.operators.peers.row_loop import row_loop_grad_norm
from bench.report.results import STAGES
from bench.training.pickers import BatchPicker, RowLoopPicker, SamplerPicker, UniformPicker
from bench.training.run import Training
from impsamp_fast import ConstantTime, ConstantVariance, SecondModel, Selector, select
from impsamp_fast.batch.queue import Queue

FEWEST, MOST, MOST_SECONDS = 3, 200, 0.7  # steps timed

Step = Callable[[], dict[str, float]]


def measure(training: Training) -> dict[str, float]:
    """Microseconds of each stage, of the "step", and of "selection"; absent stages are 0.

    "selection" is all of a step that is neither training nor a forward pass for scoring, nor of the
    strategy's own model, in its calls and its training ("second_model").
    """
    time_one_step, average = stages_of(training)
    time_one_step()  # the first call meets cold caches
    samples: list[dict[str, float]] = []
    end = time.perf_counter() + MOST_SECONDS
    while len(samples) < FEWEST or (len(samples) < MOST and time.perf_counter() < end):
        samples.append(time_one_step())
    split = {name: 1e6 * average([sample[name] for sample in samples]) for name in samples[0]}
    split["other"] = split["step"] - sum(split.get(stage, 0.0) for stage in STAGES)
    return {name: round(split.get(name, 0.0), 2) for name in (*STAGES, "step", "selection")}


def stages_of(training: Training) -> tuple[Step, Callable[[list[float]], float]]:
    """A function that makes a timed step, and how its times are averaged."""
    picker = training.picker
    if isinstance(picker, UniformPicker):
        return uniform_step(training), median
    if isinstance(picker, RowLoopPicker):
        return row_loop_step(training), median
    if isinstance(picker, SamplerPicker):
        return sampler_step(training, picker), median
    assert isinstance(picker, BatchPicker)
    strategy = picker.strategy
    if isinstance(strategy, Selector) and is_one_select(strategy, training):
        return selector_step(training, strategy), median
    # A queue may take one raw batch in a step and ten in the next, and of a pool only the first
    # mini-batch is scored for: no step is typical.
    alike = not isinstance(strategy, Queue) and training.strategy.batches_per_pool == 1
    return strategy_step(training), median if alike else fmean


def is_one_select(selector: Selector, training: Training) -> bool:
    """Whether its choice is one call of `select` with the logits."""
    return (
        training.scores
        and isinstance(selector.score, str)
        and selector.score != "last_layer"
        and isinstance(selector.method, str)
        and selector.filter is None
        and selector.batches_per_pool == 1
    )


def uniform_step(training: Training) -> Step:
    def step() -> dict[str, float]:
        begin = time.perf_counter()
        training.step()
        elapsed = time.perf_counter() - begin
        return {"train": elapsed, "step": elapsed}

    return step


def row_loop_step(training: Training) -> Step:
    """The loop makes the forward passes too; all of it counts as selecting."""

    def step() -> dict[str, float]:
        clock = [time.perf_counter()]
        x, y, _ = training.stream.next(training.task.large)
        clock.append(time.perf_counter())
        norm = row_loop_grad_norm(training.model, x, y)
        rows = torch.multinomial(norm, training.task.mini, replacement=True)
        clock.append(time.perf_counter())
        picked_x, picked_y = x[rows], y[rows]
        clock.append(time.perf_counter())
        training.update(F.cross_entropy(training.model(picked_x), picked_y))
        clock.append(time.perf_counter())
        fetch, select, gather, train = durations(clock)
        return {
            "select": select,
            "gather": gather,
            "train": fetch + train,
            "step": clock[-1] - clock[0],
            "selection": select + gather,
        }

    return step


def selector_step(training: Training, selector: Selector) -> Step:
    model, stream, large = training.trained, training.stream, training.task.large
    whole_step = strategy_step(training)
    assert isinstance(selector.score, str)
    assert isinstance(selector.method, str)
    n, score, method = selector.n, selector.score, selector.method
    correction = selector.correction

    def train(x: Tensor, y: Tensor, weight: Tensor) -> None:
        if correction == "none":  # as the picker does
            training.update(F.cross_entropy(model(x), y))
        else:
            losses = F.cross_entropy(model(x), y, reduction="none")
            training.update((losses * weight).mean())

    def step() -> dict[str, float]:
        clock = [time.perf_counter()]
        x, y, _ = stream.next(large)
        clock.append(time.perf_counter())
        logits = selector._forward(x, y).logits
        clock.append(time.perf_counter())
        selection = select(logits, y, n, score=score, method=method, correction=correction)
        clock.append(time.perf_counter())
        picked_x, picked_y = x[selection.index], y[selection.index]
        clock.append(time.perf_counter())
        train(picked_x, picked_y, selection.weight)
        clock.append(time.perf_counter())
        fetch, forward, choose, gather, learn = durations(clock)
        whole = whole_step()
        return {
            "forward": forward,
            "select": choose,
            "gather": gather,
            "train": fetch + learn,
            "step": whole["step"],
            "selection": whole["selection"],
        }

    return step


def strategy_step(training: Training) -> Step:
    """Any strategy of raw batches: its call, less the rows fetched and the models called in it."""
    picker = training.at_work()
    # Not the model's own: what is compiled would take the clock for a part of it.
    scorer = picker.strategy
    if isinstance(scorer, ConstantTime | ConstantVariance):
        scorer = scorer.selector
    forward = CallClock(scorer, "_logits" if isinstance(scorer, Queue) else "_forward")
    fetch = CallClock(training.stream, "next")
    called, trained = CallClock(SecondModel, "__call__"), CallClock(SecondModel, "train")

    def step() -> dict[str, float]:
        with forward, fetch, called, trained:  # to begin and to end them is outside the time
            begin = time.perf_counter()
            batch = picker.next_batch(training.stream)
            picked, scoring = time.perf_counter(), forward.seconds
            second = called.seconds + trained.seconds
            training.update(picker.loss_of(batch))
            end = time.perf_counter()
        selection = picked - begin - scoring - second - fetch.seconds
        learned_late = called.seconds + trained.seconds - second  # AutoAssist's, from the losses
        return {
            "forward": scoring,
            "select": selection,
            "second_model": second + learned_late,
            "train": fetch.seconds + end - picked - learned_late,
            "step": end - begin,
            "selection": selection,
        }

    return step


class CallClock:
    """Adds up the time of the calls of a method within a `with` block, for which it stands in.

    The method is an object's, or a class's for all of its objects.
    """

    def __init__(self, owner: object, name: str) -> None:
        self.owner, self.name, self.method = owner, name, getattr(owner, name)
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.seconds = 0.0

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            output = self.method(*args, **kwargs)
            self.seconds += time.perf_counter() - begin
            return output

        setattr(self.owner, self.name, timed)

    def __exit__(self, *_: object) -> None:
        if isinstance(self.owner, type):
            setattr(self.owner, self.name, self.method)
        else:
            delattr(self.owner, self.name)


def sampler_step(training: Training, picker: SamplerPicker) -> Step:
    """A strategy of the data set: each step bears its share of drawing an epoch."""
    model, sampler, n = training.trained, picker.sampler, training.task.mini
    picker.batches = None  # its pass ends here
    begin = time.perf_counter()
    # Two epochs, since every second one may be of all samples.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ended without an update")  # nothing is trained on
        steps = sum(len(numbers) == n for _ in range(2) for numbers in sampler.batches(n))
    drawing = (time.perf_counter() - begin) / max(1, steps)

    def step() -> dict[str, float]:
        numbers = picker.next_numbers()
        clock = [time.perf_counter()]
        index = torch.tensor(numbers)
        x, y = training.stream.at(index)
        clock.append(time.perf_counter())
        logits = model(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        clock.append(time.perf_counter())
        loss = sampler.mean(losses, index)
        sampler.update(index, logits, y, losses=losses)
        clock.append(time.perf_counter())
        training.update(loss)
        clock.append(time.perf_counter())
        gather, forward, learn, backward = durations(clock)
        return {
            "select": drawing + learn,
            "gather": gather,
            "train": forward + backward,
            "step": drawing + clock[-1] - clock[0],
            "selection": drawing + learn + gather,
        }

    return step


def durations(clock: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(clock)]
