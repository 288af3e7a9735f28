"""Two Circles of Knutsson et al. 2023: is a point of the square inside a circle?

Two equal circles lie on a diagonal of the square [-1, 1]^2 and together cover half of it, so both
classes are equally likely. The gap between them, and between each and the sides, is narrow: few
points tell where the border runs, and those are what importance sampling should find.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.tasks.task import Budget, Data, Task

RADIUS = math.sqrt(1.0 / math.pi)  # two circles of area 1 in a square of area 4
# Midway between the circles touching each other and touching the sides of the square.
OFFSET = (RADIUS / math.sqrt(2.0) + (1.0 - RADIUS)) / 2.0
CENTRES = ((-OFFSET, -OFFSET), (OFFSET, OFFSET))


def label(points: Tensor) -> Tensor:
    """Class 1 inside either circle, else 0. points [N, 2] -> [N] int64."""
    centres = torch.tensor(CENTRES, dtype=points.dtype)
    distance = (points[:, None, :] - centres).square().sum(-1)
    return (distance < RADIUS**2).any(1).long()


def sample(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """`count` points drawn evenly from the square [count, 2] and their classes [count]."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 2, generator=generator) * 2.0 - 1.0
    return points, label(points)


def load(_: Path) -> Data:
    return Data(*sample(2**17, seed=1), *sample(2**14, seed=2))


def network() -> nn.Module:
    """2 -> 50 ReLU -> 2: 252 weights.

    In place, the ReLU spares the large batch half of its memory traffic, for all strategies alike.
    """
    return nn.Sequential(nn.Linear(2, 50), nn.ReLU(inplace=True), nn.Linear(50, 2))


TASK = Task(
    name="two-circles",
    load=load,
    network=network,
    learning_rate=0.005,
    # All of the authors' thresholds win in the end, the early ones soonest; their latest is
    # ratio:0.26.
    start="always",
    budget=Budget(steps=3000),
    evaluate_every=20,
    epoch_pool=2**13,
    # Its operations last microseconds: a second thread gains nothing, and whenever another program
    # takes a core, the first one waits for it.
    threads=1,
    snapshots=(100, 300, 1000, 3000),
)
