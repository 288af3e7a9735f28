"""Strategies at work: each turns the training pool into the loss of one training step."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.operators.peers.row_loop import row_loop_grad_norm
from bench.tasks.task import Data, Task
from bench.training.making import make_for_batches, make_for_dataset
from bench.training.strategies import Strategy
from bench.training.stream import Stream
from impsamp_fast import AutoAssist, ConstantTime, ConstantVariance, MiniBatch, PickCounts, Selector
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset import DatasetSampler


class Picker(Protocol):
    """A strategy at work: what it takes from the stream becomes a loss to differentiate."""

    picked: tuple[Tensor, Tensor]  # x and y of the last mini-batch
    importance_steps: int
    counts: PickCounts | None

    def loss(self, stream: Stream) -> Tensor: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class UniformPicker:
    """Training as it is without this library: nothing is scored, gathered or weighted."""

    importance_steps = 0
    counts = None

    def __init__(self, model: nn.Module, n: int) -> None:
        self.model, self.n = model, n

    def loss(self, stream: Stream) -> Tensor:
        x, y, _ = stream.next(self.n)
        self.picked = x, y
        return F.cross_entropy(self.model(x), y)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class BatchPicker:
    """A strategy that picks from raw batches."""

    def __init__(self, model: nn.Module, large: int, strategy: BatchStrategy) -> None:
        assert isinstance(strategy, Selector | Queue | ConstantTime | ConstantVariance)
        self.model, self.large, self.strategy = model, large, strategy
        self.counts = strategy.counts
        self.unweighted = isinstance(strategy, Queue) or strategy.correction == "none"
        self.is_told_losses = isinstance(strategy, AutoAssist)
        self.importance_steps = 0

    def loss(self, stream: Stream) -> Tensor:
        return self.loss_of(self.next_batch(stream))

    def next_batch(self, stream: Stream) -> MiniBatch:
        """As many raw batches as the strategy wants for a mini-batch, of the size it wants."""
        batch = self.strategy.pop() if isinstance(self.strategy, Selector) else None
        while batch is None:
            rows = self.large if self.strategy.raw_size is None else self.strategy.raw_size
            if rows == 0:  # the rows of the last raw batch are enough for another mini-batch
                assert isinstance(self.strategy, Queue)
                batch = self.strategy.pop()
            else:
                batch = self.strategy(*stream.next(rows))
        return batch

    @property
    def forecasts(self) -> bool:
        """Whether it says what its steps are worth, by their variance."""
        return isinstance(self.strategy, Selector) and not self.unweighted

    def tau(self) -> float | None:
        """Of the last step; None if that was a uniform one."""
        numbers = self.strategy.metrics(wait=True)
        return float(f"{numbers['tau']:.4g}") if numbers["importance"] else None

    def pause(self) -> None:
        """Is told that no training follows."""
        if isinstance(self.strategy, Selector):
            self.strategy.pause()

    def score(self, stream: Stream) -> None:
        """Scores a raw batch and does no more: what is compiled for it then is so."""
        if isinstance(self.strategy, Selector):
            self.strategy.scores(*stream.next(self.large))

    def loss_of(self, batch: MiniBatch) -> Tensor:
        self.picked = batch.x, batch.y
        self.importance_steps += batch.importance
        logits = self.model(batch.x)
        if batch.importance and self.unweighted and not self.is_told_losses:
            # All weights are 1 and the start rule has latched, so this is batch.mean by torch's
            # own fused loss, which uniform sampling has as well.
            return F.cross_entropy(logits, batch.y)
        return batch.mean(F.cross_entropy(logits, batch.y, reduction="none"))

    def state_dict(self) -> dict[str, Any]:
        return {"strategy": self.strategy.state_dict(), "importance_steps": self.importance_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.strategy.load_state_dict(state["strategy"])
        self.importance_steps = state["importance_steps"]


class SamplerPicker:
    """A strategy that chooses samples of the data set, epoch by epoch.

    Steps by importance are those after the warm-up; without one, after the first epoch.
    """

    def __init__(
        self, model: nn.Module, n: int, sampler: DatasetSampler, counts: PickCounts | None
    ) -> None:
        self.model, self.n, self.sampler, self.counts = model, n, sampler, counts
        self.warm_up: int = getattr(sampler, "warm_up", 1)
        self.importance_steps, self.epoch = 0, 0
        self.batches: Iterator[list[int]] | None = None

    def loss(self, stream: Stream) -> Tensor:
        index = torch.tensor(self.next_numbers())
        self.importance_steps += self.epoch >= self.warm_up
        if self.counts is not None:
            self.counts.update(index)
        return self.learn(index, *stream.at(index))

    def next_numbers(self) -> list[int]:
        """The numbers of the next mini-batch's samples."""
        while True:
            if self.batches is None:
                # Where an epoch has fewer samples than a mini-batch, it is one.
                self.batches = iter(self.sampler.batches(min(self.n, len(self.sampler))))
            numbers = next(self.batches, None)
            if numbers is not None:
                return numbers
            self.batches = None
            self.epoch += 1

    def learn(self, index: Tensor, x: Tensor, y: Tensor) -> Tensor:
        self.picked = x, y
        logits = self.model(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        loss = self.sampler.mean(losses, index)
        self.sampler.update(index, logits, y, losses=losses)
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {
            "sampler": self.sampler.state_dict(),
            "counts": None if self.counts is None else self.counts.state_dict(),
            "epoch": self.epoch,
            "importance_steps": self.importance_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        sampler = state["sampler"]
        self.sampler.load_state_dict(sampler)
        if self.counts is not None:
            self.counts.load_state_dict(state["counts"])
        # Of an epoch that is over, the next pass would be the next one.
        self.epoch = state["epoch"] + (sampler["position"] == sampler["length"])
        self.importance_steps = state["importance_steps"]
        self.batches = None


class RowLoopPicker:
    """Gradient norm CDF at the price the paper paid for it: one backward pass per row."""

    counts = None

    def __init__(self, model: nn.Module, rows: int, n: int, seed: int) -> None:
        self.model, self.rows, self.n = model, rows, n
        self.generator = torch.Generator().manual_seed(seed)
        self.importance_steps = 0

    def loss(self, stream: Stream) -> Tensor:
        x, y, _ = stream.next(self.rows)
        norm = row_loop_grad_norm(self.model, x, y)
        rows = torch.multinomial(norm, self.n, replacement=True, generator=self.generator)
        self.picked = x[rows], y[rows]
        self.importance_steps += 1
        return F.cross_entropy(self.model(self.picked[0]), self.picked[1])

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self.generator.get_state(), "importance_steps": self.importance_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["draws"])
        self.importance_steps = state["importance_steps"]


def make_picker(
    strategy: Strategy,
    model: nn.Module,
    task: Task,
    data: Data,
    start: str,
    epochs: int,
    seed: int,
    **prepared: Any,
) -> Picker:
    """The strategy with a model.

    `start` gives way to a rule of the strategy's own; `epochs` is for those that plan by epochs;
    `prepared` was made for it before the run.
    """
    if strategy.base == "uniform":
        return UniformPicker(model, task.mini)
    if strategy.row_loop:
        return RowLoopPicker(model, task.large, task.mini, seed)
    size = len(data.y)
    counts = PickCounts(size) if task.count_picks else None
    if strategy.level == "dataset":
        sampler = make_for_dataset(strategy, size, epochs, data.classes, seed)
        return SamplerPicker(model, task.mini, sampler, counts)
    rule = strategy.start_rule(start, task, size)
    made = make_for_batches(
        strategy, model, task.mini, rule, counts, seed, task.fast_scoring, **prepared
    )
    return BatchPicker(model, task.large, made)
