"""What an experiment consists of."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from impsamp_fast import ScoringPass

# No run's, which would shuffle the data as wrong labels are dealt out.
_SEED_OF_LABELS = 0x5EEDED
_SEED_OF_VALIDATION = 0x5EED7E


@dataclass(frozen=True)
class Data:
    """A training pool and a test set, whole and in memory."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    source: str = ""  # where it is not the original

    @property
    def classes(self) -> int:
        """C, how many classes there are."""
        return int(self.test_y.max()) + 1

    def to(self, device: str) -> "Data":
        """The same on another device."""
        tensors = (tensor.to(device) for tensor in (self.x, self.y, self.test_x, self.test_y))
        return Data(*tensors, source=self.source)

    def first(self, size: int) -> "Data":
        """The same with the first samples of the pool only."""
        return replace(self, x=self.x[:size], y=self.y[:size])

    def with_validation(self, size: int) -> "Data":
        """The same with so many samples of the pool, drawn uniformly, in place of the test set."""
        generator = torch.Generator().manual_seed(_SEED_OF_VALIDATION)
        order = torch.randperm(len(self.y), generator=generator)
        tested, trained = order[:size], order[size:].sort().values
        return replace(
            self,
            x=self.x[trained],
            y=self.y[trained],
            test_x=self.x[tested],
            test_y=self.y[tested],
        )

    def with_wrong_labels(self, share: float) -> "Data":
        """The same with a share of the pool's labels replaced, each by one of the other classes.

        Which ones and by which is uniform, and the same in every run; the test set stays clean.
        """
        generator = torch.Generator().manual_seed(_SEED_OF_LABELS)
        wrong = torch.randperm(len(self.y), generator=generator)[: round(share * len(self.y))]
        further = torch.randint(1, self.classes, wrong.shape, generator=generator)
        y = self.y.clone()
        y[wrong] = (y[wrong] + further) % self.classes
        return replace(self, y=y)

    def with_rare_classes(self, share: float) -> "Data":
        """The same with the first share of the samples of each class of the latter half only."""
        kept = torch.ones(len(self.y), dtype=torch.bool)
        for rare in range(self.classes // 2, self.classes):
            own = (self.y == rare).nonzero().squeeze(1)
            kept[own[round(share * len(own)) :]] = False
        return self if kept.all() else replace(self, x=self.x[kept], y=self.y[kept])


@dataclass(frozen=True)
class Budget:
    """When a run ends: after `steps`, or once its clock shows `seconds`."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, steps: int, seconds: float) -> float:
        """How much of it is spent, 1 at its end."""
        if self.steps is not None:
            return steps / self.steps
        assert self.seconds is not None
        return seconds / self.seconds


@dataclass(frozen=True)
class Task:
    """One experiment of the paper. Both batch sizes and the start rule hold for all strategies."""

    name: str
    load: Callable[[Path], Data]
    network: Callable[[], nn.Module]
    learning_rate: float
    start: str  # uniform sampling until then, see bench.training.making.parse_start
    budget: Budget  # of each run
    evaluate_every: int  # steps, where the budget is one of steps
    # Samples in the pool where data-set level strategies are compared: they learn from one epoch to
    # the next, so that a run has to have many.
    epoch_pool: int
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam  # of parameters and lr=
    evaluations: int = 50  # of a run, where the budget is one of time
    threads: int | None = None  # of torch; None: as many as it takes
    snapshots: tuple[int, ...] = ()  # steps at which picked points and decision map are kept
    to_pixels: Callable[[Tensor], np.ndarray] | None = None  # rows of x as pictures, where they are
    class_names: tuple[str, ...] = ()  # those of classes whose numbers say nothing
    count_picks: bool = False
    count_classes: bool = False  # of the picks, and how right each is, between evaluations
    fast_scoring: ScoringPass = field(default_factory=ScoringPass)  # the best known for the network
    compiled: bool = False  # whether the model that is trained is, for all strategies
    large: int = 1024  # K, rows scored
    mini: int = 128  # n, rows trained on

    @property
    def optimizer_name(self) -> str:
        """Its class, and what is not torch's default."""
        factory = self.optimizer
        if not isinstance(factory, partial):
            return factory.__name__
        settings = ", ".join(f"{name}={value}" for name, value in factory.keywords.items())
        return f"{factory.func.__name__}({settings})"

    def name_of_class(self, label: int) -> str:
        return self.class_names[label] if self.class_names else str(label)
