"""What a device that runs the kernels on the host is asked for, and answers."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# The order of csrc/problem.h.
STATISTICS = ["loss", "grad_norm", "p_true", "margin", "entropy", "p_wrong", "margin_lack"]
KINDS = ["with replacement", "without replacement", "deterministic"]
CORRECTIONS = ["none", "unbiased", "normalized"]  # and then a power
# The statistic behind a kind of score.
SCORES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "last_layer": "grad_norm",
    "p_wrong": "p_wrong",
    "margin": "margin_lack",
    "entropy": "entropy",
}


@dataclass(frozen=True)
class Seed:
    """Where a draw's seed comes from: SeedSource of csrc/cuda/cuda.h; ``at`` are int64 [1]."""

    value: int = 0
    at: Tensor | None = None
    from_generator: bool = False
    offset: int = 0
    offset_at: Tensor | None = None


class DeviceDraw(NamedTuple):
    """What the draw kernels fill."""

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    prob: Tensor
    status: int


def result_type(logits: Tensor) -> torch.dtype:
    """Of the statistics of these logits."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
