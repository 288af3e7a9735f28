"""Training by epochs, whose samples and mini-batches are chosen as in Smedås (2021)."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.tasks.task import Data, Task
from impsamp_fast import Selector, strategies
from impsamp_fast.dataset import EpochAccuracyFilter

LARGE = 4  # mini-batches in the raw batch that a selector chooses from
ROWS_AT_ONCE = {"cpu": 250, "cuda": 4096}  # evaluated
EPOCHWISE = "epochwise"
BATCHWISE = ("hard-accuracy", "soft-accuracy", "top-k", "top-q", "loss-weighted", "loss-split")
QUANTILE = 0.9
Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Way:
    """What is chosen: the samples of an epoch, the rows of a mini-batch, both, or neither."""

    epochwise: bool
    batchwise: str | None  # a strategy of the registry

    @property
    def name(self) -> str:
        return "+".join(filter(None, (EPOCHWISE * self.epochwise, self.batchwise))) or "uniform"


def ways() -> dict[str, Way]:
    """All of them by name: "uniform", "epochwise", "top-k", "epochwise+top-k", ..."""
    all_of_them = [Way(e, b) for b in (None, *BATCHWISE) for e in (False, True)]
    return {way.name: way for way in all_of_them}


class EpochTraining:
    """A run. An epoch is a pass over all samples, or over those that pass the epoch's filter.

    An epochwise filter keeps the misclassified samples, for which all samples pass through the
    model before each epoch but the first. The rows that a batchwise strategy chooses are those of
    raw batches of the epoch's samples: it is used within an epochwise one as it is without. They
    are augmented as they are put into a raw batch.
    """

    def __init__(
        self, task: Task, data: Data, way: Way, seed: int, augment: Augment | None = None
    ) -> None:
        torch.manual_seed(seed)
        self.data, self.augment, self.n = data, augment, task.mini
        self.device = data.x.device
        self.model = task.network().to(self.device)
        self.optimizer = task.optimizer(self.model.parameters(), lr=task.learning_rate)
        self.sampler = self.strategy = None
        if way.batchwise is not None:
            make = strategies.get(way.batchwise)
            self.strategy = make(self.model, self.n, on_fault="skip", seed=seed)
        # A selector needs more rows than it takes; others take what there is.
        self.raw = self.n * (LARGE if isinstance(self.strategy, Selector) else 1)
        if way.epochwise:
            self.sampler = EpochAccuracyFilter(
                len(data.y), full_every=None, least=self.n, on_fault="skip", seed=seed
            )
        self.order = torch.Generator().manual_seed(seed)
        self.views = torch.Generator(self.device).manual_seed(seed)
        self.steps, self.seconds = 0, 0.0

    def train_epoch(self, epoch: int) -> None:
        begin = self.now()
        batches: Iterable[Any] = self.raw_batches(self.samples(epoch))
        if self.strategy is not None:
            batches = self.strategy.batches(batches)
        for x, y, *_ in batches:
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            self.steps += 1
        self.seconds += self.now() - begin

    def samples(self, epoch: int) -> Tensor:
        """The numbers of an epoch's samples, in its order."""
        if self.sampler is None:
            return torch.randperm(len(self.data.y), generator=self.order)
        if epoch:
            self.look_at_all()
        self.sampler.set_epoch(epoch)
        return torch.tensor(list(self.sampler))

    @torch.no_grad()
    def look_at_all(self) -> None:
        """Tells the epochwise filter what the model makes of each sample."""
        assert self.sampler is not None
        y = self.data.y
        index = torch.arange(len(y), device=self.device)
        self.sampler.update(index, self.logits(self.data.x), y)

    def raw_batches(self, samples: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for index in samples.to(self.device).split(self.raw):
            if len(index) < self.n and isinstance(self.strategy, Selector):
                return
            x = self.data.x[index]
            if self.augment is not None:
                x = self.augment(x, self.views)
            yield x, self.data.y[index]

    def logits(self, x: Tensor) -> Tensor:
        self.model.eval()
        logits = [self.model(rows) for rows in x.split(ROWS_AT_ONCE[self.device.type])]
        self.model.train()
        return torch.cat(logits)

    @torch.no_grad()
    def measure(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Accuracy, and the mean, the quantile and the worst of the losses."""
        logits = self.logits(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        measured = {
            "accuracy": (logits.argmax(1) == y).double().mean(),
            "mean": losses.mean(),
            "quantile": losses.quantile(QUANTILE),
            "worst": losses.max(),
        }
        return {name: float(f"{value.item():.5g}") for name, value in measured.items()}

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
