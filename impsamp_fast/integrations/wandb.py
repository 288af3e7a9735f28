"""Weights & Biases: what a strategy's steps come to."""

from typing import Any, final

import torch
import wandb
from torch import Tensor

from impsamp_fast.integrations.loggers import Logger

_BINS = 64


@final
class WandbLogger(Logger):
    """Writes to a run of wandb, by ``run.log(..., commit=False)``.

    So the numbers go with what the training logs next, and do not move the run's own step, which
    cannot go back: they have their own, ``impsamp/step``.

    Args:
        run: what ``wandb.init`` returned.
        every: see :class:`~impsamp_fast.integrations.loggers.Logger`, as all that follow.
        histogram_every: likewise.
        prefix: likewise.
    """

    def __init__(
        self,
        run: Any,
        every: int = 50,
        histogram_every: int | None = 500,
        prefix: str = "impsamp/",
    ) -> None:
        super().__init__(every, histogram_every, prefix)
        self.run = run
        run.define_metric(f"{prefix}*", step_metric=f"{prefix}step")

    def _write(self, numbers: dict[str, float], step: int) -> None:
        self.run.log(numbers, commit=False)

    def _write_histogram(self, name: str, values: Tensor, step: int) -> None:
        counts, edges = torch.histogram(values[values.isfinite()].double(), _BINS)
        histogram = wandb.Histogram(np_histogram=(counts.numpy(), edges.numpy()))
        self.run.log({name: histogram, f"{self.prefix}step": float(step)}, commit=False)
