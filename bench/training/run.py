"""One training run: a strategy, a seed, a clock that runs only while training does."""

import copy
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.report.results import QUANTILES
from bench.tasks.task import Budget, Data, Task
from bench.training.making import make_for_batches
from bench.training.pickers import BatchPicker, make_picker
from bench.training.preparing import prepare
from bench.training.strategies import Strategy
from bench.training.stream import Shuffled, Stream
from impsamp_fast import row_stats
from impsamp_fast.batch._nested import with_format

WARM_UP_STEPS = 3
MAP_SIZE = 160  # pixels along each side of a decision map
EVALUATED_AT_ONCE = 250  # rows: activations of more leave a CPU's cache


class Training:
    """A run that can be advanced, stored and taken up again.

    The seed decides the initial weights, the order of the data and the draws; the first two are
    the same for every strategy. `epochs` is what data-set level strategies are told to plan for,
    `shuffled` the pool as the seed orders it, where other runs have it as well.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        strategy: Strategy,
        seed: int,
        start: str,
        epochs: int = 1,
        learning_rate: float | None = None,
        shuffled: Shuffled | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.task, self.data, self.strategy = task, data, strategy
        self.model = task.network()
        self.rate = learning_rate or task.learning_rate
        self.optimizer = strategy.recipe.optimizer(task, self.model.parameters(), self.rate)
        self.compiled = task.compiled or strategy.recipe.compiled
        trained = torch.compile(self.model) if self.compiled else self.model
        assert isinstance(trained, nn.Module)
        self.trained = trained
        # What a strategy needs before it can begin is a part of what it takes.
        self.prepared, self.seconds = prepare(strategy, task, data, seed)
        self.steps = 0
        self.picker = make_picker(
            strategy, trained, task, data, start, epochs, seed, **self.prepared
        )
        shuffled = Shuffled(data, seed) if shuffled is None else shuffled
        self.stream = Stream(shuffled, task.count_picks or strategy.takes_numbers)
        self.curve: dict[str, list[Any]] = {"step": [], "seconds": [], "accuracy": [], "loss": []}
        if task.count_classes:
            self.curve |= {"picked_classes": [], "class_accuracy": []}
        if isinstance(self.picker, BatchPicker) and self.picker.forecasts:
            self.curve["tau"] = []
        self.picked_classes = torch.zeros(data.classes, dtype=torch.int64)
        self.pictures: dict[str, np.ndarray] = {}

    def warm_up(self) -> None:
        """Makes a few steps and takes them back: what is compiled is so before the clock runs."""
        with torch.random.fork_rng():
            before = copy.deepcopy(self.state_dict())
            for _ in range(WARM_UP_STEPS):
                self.step()
            if isinstance(self.picker, BatchPicker):  # whose start rule may not have scored yet
                self.picker.score(self.stream)
                if self.compiled:  # also for what is scored and trained on in other sizes
                    chosen = self.at_work()
                    for _ in range(WARM_UP_STEPS):
                        self.update(chosen.loss(self.stream))
            self.load_state_dict(before)

    @property
    def scores(self) -> bool:
        """Whether the strategy has a start rule, before which it does not."""
        return self.strategy.start_rule("always", self.task, len(self.data.y)) is not None

    def at_work(self) -> BatchPicker:
        """The strategy with the run's model, choosing from the first step on."""
        task, model, rule = self.task, self.trained, "always" if self.scores else None
        made = make_for_batches(
            self.strategy, model, task.mini, rule, None, 0, task.fast_scoring, **self.prepared
        )
        return BatchPicker(model, task.large, made)

    def advance(self, budget: Budget) -> None:
        """Train until the next evaluation or the end, then evaluate with the clock stopped."""
        if budget.steps is not None:
            self.train_steps(budget.steps)
        else:
            assert budget.seconds is not None
            self.train_seconds(budget.seconds)
        if isinstance(self.picker, BatchPicker):
            self.picker.pause()
        self.evaluate()
        if self.steps in self.task.snapshots:
            self.take_snapshot()

    def train_steps(self, limit: int) -> None:
        # The row-by-row loop makes few steps, each of them slow: evaluate after every one.
        steps = 1 if self.strategy.row_loop else self.task.evaluate_every
        steps = min(steps, limit - self.steps)
        begin = time.perf_counter()
        for _ in range(steps):
            self.step(self.steps / limit)
            self.steps += 1
        self.seconds += time.perf_counter() - begin

    def train_seconds(self, limit: float) -> None:
        """Train past the next of the moments at which runs are evaluated.

        All strategies are evaluated at the same moments: means over evaluations are then over the
        same time, however many steps were made in it.
        """
        interval = limit / self.task.evaluations
        end = interval * (self.seconds // interval + 1)
        if end <= self.seconds:  # the quotient of a multiple may be rounded down
            end += interval
        before, begin = self.seconds, time.perf_counter()
        while self.seconds < end:
            self.step(self.seconds / limit)
            self.steps += 1
            self.seconds = before + time.perf_counter() - begin

    def step(self, share: float = 0.0) -> None:
        """`share` of the budget is spent."""
        if self.strategy.recipe.decayed:
            for group in self.optimizer.param_groups:
                group["lr"] = self.strategy.recipe.rate(self.rate, share)
        self.update(self.picker.loss(self.stream))
        if self.task.count_classes:
            labels = self.picker.picked[1]
            self.picked_classes += torch.bincount(labels, minlength=self.data.classes)

    def update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def test_logits(self) -> Tensor:
        self.model.eval()
        # The fastest format of pictures on a CPU.
        rows = self.data.test_x.split(EVALUATED_AT_ONCE)
        logits = [self.model(with_format(x, torch.channels_last)) for x in rows]
        self.model.train()
        return torch.cat(logits)

    @torch.no_grad()
    def loss_quantiles(self) -> list[float]:
        """QUANTILES of the losses of the test set, as the model is now."""
        losses = row_stats(self.test_logits(), self.data.test_y).loss.numpy()
        return [float(f"{value:.4g}") for value in np.quantile(losses, QUANTILES)]

    @torch.no_grad()
    def evaluate(self) -> None:
        logits = self.test_logits()
        right = logits.argmax(1) == self.data.test_y
        self.curve["step"].append(self.steps)
        self.curve["seconds"].append(round(self.seconds, 6))
        self.curve["accuracy"].append(round(float(right.double().mean()), 6))
        self.curve["loss"].append(round(float(F.cross_entropy(logits, self.data.test_y)), 6))
        if self.task.count_classes:
            self.evaluate_classes(right)
        if "tau" in self.curve:
            assert isinstance(self.picker, BatchPicker)
            self.curve["tau"].append(self.picker.tau())

    def evaluate_classes(self, right: Tensor) -> None:
        """Picks of each class since the last evaluation, and its accuracy on the test set."""
        self.curve["picked_classes"].append(self.picked_classes.tolist())
        self.picked_classes.zero_()
        y, classes = self.data.test_y, self.data.classes
        hits, all_of_them = (torch.bincount(rows, minlength=classes) for rows in (y[right], y))
        self.curve["class_accuracy"].append([round(a, 6) for a in (hits / all_of_them).tolist()])

    @torch.no_grad()
    def take_snapshot(self) -> None:
        """Keep the probability of class 1 over the square, and the points just trained on."""
        side = torch.linspace(-1.0, 1.0, MAP_SIZE)
        grid = torch.cartesian_prod(side, side).flip(1)  # rows are y, columns are x
        probability = self.model(grid).softmax(1)[:, 1].reshape(MAP_SIZE, MAP_SIZE)
        points, labels = self.picker.picked
        self.pictures[f"map/{self.steps}"] = probability.mul(255).round().byte().numpy()
        self.pictures[f"points/{self.steps}"] = points.numpy()
        self.pictures[f"labels/{self.steps}"] = labels.numpy().astype(np.uint8)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "picker": self.picker.state_dict(),
            "stream": self.stream.state_dict(),
            "progress": (self.steps, self.seconds, self.curve, self.pictures),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.picker.load_state_dict(state["picker"])
        self.stream.load_state_dict(state["stream"])
        self.steps, self.seconds, self.curve, self.pictures = state["progress"]
        self.picked_classes.zero_()  # a state is of an evaluation, or of the beginning
