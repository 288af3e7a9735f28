"""What some strategies need before a run can begin, made from its data alone."""

import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.tasks.task import Data, Task
from bench.training.strategies import Strategy
from impsamp_fast import irreducible_losses

# Of each of two networks, which then know the data without having learned its noise by heart.
STEPS = 100
ROWS_AT_ONCE = 1024


def prepare(strategy: Strategy, task: Task, data: Data, seed: int) -> tuple[dict[str, Any], float]:
    """The parameters of a strategy's factory that have no default, and the seconds they took."""
    if strategy.in_registry != "rho-loss":
        return {}, 0.0
    begin = time.perf_counter()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        losses = losses_by_halves(task, data)
    return {"irreducible": losses}, time.perf_counter() - begin


def prepared_for_nothing(strategy: Strategy) -> dict[str, Any]:
    """What takes their place where a strategy is only made to be described."""
    return {"irreducible": torch.zeros(1)} if strategy.in_registry == "rho-loss" else {}


def losses_by_halves(task: Task, data: Data) -> Tensor:
    """Each sample's loss under a network that was trained on the other half of the pool, [N]."""
    size = len(data.y)
    order = torch.randperm(size)
    halves = order[: size // 2], order[size // 2 :]
    losses = [
        irreducible_losses(trained_on(known, task, data), blocks_of(other, data), size)
        for known, other in (halves, halves[::-1])
    ]
    return torch.where(losses[0].isnan(), losses[1], losses[0])


def trained_on(index: Tensor, task: Task, data: Data) -> nn.Module:
    model = task.network()
    optimizer = task.optimizer(model.parameters(), lr=task.learning_rate)
    for _ in range(STEPS):
        rows = index[torch.randint(len(index), (task.mini,))]
        optimizer.zero_grad()
        F.cross_entropy(model(data.x[rows]), data.y[rows]).backward()
        optimizer.step()
    return model


def blocks_of(index: Tensor, data: Data) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for rows in index.split(ROWS_AT_ONCE):
        yield data.x[rows], data.y[rows], rows
