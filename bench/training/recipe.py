"""How mini-batches are trained on, whichever rows a strategy puts into them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from bench.report.results import COMPILED, DECAYED
from bench.tasks.task import Task


@dataclass(frozen=True)
class Recipe:
    """What a practitioner may turn on without choosing rows."""

    compiled: bool = False  # the training forward pass, by torch.compile, and a fused optimizer
    decayed: bool = False  # the learning rate, to 0 at the end of the budget

    def rate(self, rate: float, share: float) -> float:
        """The learning rate once a share of the budget is spent: half a cosine, or constant."""
        if not self.decayed:
            return rate
        return rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))

    def optimizer(
        self, task: Task, parameters: Iterable[nn.Parameter], rate: float
    ) -> torch.optim.Optimizer:
        return task.optimizer(parameters, lr=rate, fused=self.compiled or None)

    @property
    def suffix(self) -> str:
        """What it adds to the name of a strategy."""
        return COMPILED * self.compiled + DECAYED * self.decayed

    @property
    def label(self) -> str:
        """What it adds to the label of a strategy."""
        return ", compiled" * self.compiled + ", decayed rate" * self.decayed


def split_name(name: str) -> tuple[str, Recipe]:
    """The name of a strategy without that of its recipe, and the recipe."""
    rest = name.removesuffix(DECAYED)
    base = rest.removesuffix(COMPILED)
    return base, Recipe(compiled=base != rest, decayed=rest != name)
