"""One training run: a strategy, a seed, a clock that runs only while training does."""

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.strategies import Strategy, make_picker
from bench.tasks import Budget, Data, Task

MAP_SIZE = 160  # pixels along each side of a decision map


class Stream:
    """Blocks of contiguous rows from a pool that is shuffled once.

    A block is a view, so fetching 1,024 rows costs no more than fetching 128: neither uniform
    sampling nor the others pay for copying. Each epoch starts at another offset, so that the
    blocks are not the same ones again.
    """

    def __init__(self, data: Data, rows: int, seed: int, with_index: bool) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.order = torch.randperm(len(data.y), generator=self.generator)
        self.x, self.y = data.x[self.order], data.y[self.order]
        self.rows, self.position, self.with_index = rows, 0, with_index

    def next(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """x and y of the next block, and its rows' indices in the data set if they are wanted."""
        if self.position + self.rows > len(self.y):
            last_start = len(self.y) - self.rows
            offset = torch.randint(min(self.rows, last_start + 1), (), generator=self.generator)
            self.position = int(offset)
        block = slice(self.position, self.position + self.rows)
        self.position += self.rows
        index = self.order[block] if self.with_index else None
        return self.x[block], self.y[block], index

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        self.generator.set_state(state["generator"])


class Training:
    """A run that can be advanced, stored and taken up again.

    The seed decides the initial weights, the order of the data and the draws; the first two are
    the same for every strategy.
    """

    def __init__(self, task: Task, data: Data, strategy: Strategy, seed: int, start: str) -> None:
        torch.manual_seed(seed)
        self.task, self.data, self.strategy = task, data, strategy
        self.model = task.network()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=task.learning_rate)
        self.picker = make_picker(strategy, self.model, task, start, seed, len(data.y))
        self.stream = Stream(data, self.picker.rows, seed, task.count_picks)
        self.steps, self.seconds = 0, 0.0
        self.curve: dict[str, list[float]] = {"step": [], "seconds": [], "accuracy": [], "loss": []}
        self.pictures: dict[str, np.ndarray] = {}

    def advance(self, budget: Budget) -> None:
        """Train until the next evaluation or the end, then evaluate with the clock stopped."""
        # The row-by-row loop makes few steps, each of them slow: evaluate after every one.
        steps = 1 if self.strategy.row_loop else self.task.evaluate_every
        if budget.steps is not None:
            steps = min(steps, budget.steps - self.steps)
        begin = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.seconds += time.perf_counter() - begin
        self.steps += steps
        self.evaluate()
        if self.steps in self.task.snapshots:
            self.take_snapshot()

    def step(self) -> None:
        self.update(self.picker.loss(*self.stream.next()))

    def update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def evaluate(self) -> None:
        logits = torch.cat([self.model(x) for x in self.data.test_x.split(4096)])
        accuracy = (logits.argmax(1) == self.data.test_y).double().mean()
        self.curve["step"].append(self.steps)
        self.curve["seconds"].append(round(self.seconds, 6))
        self.curve["accuracy"].append(round(float(accuracy), 6))
        self.curve["loss"].append(round(float(F.cross_entropy(logits, self.data.test_y)), 6))

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
