"""The Two Circles data of Knutsson et al. 2023: is a point of the square inside a circle?

Two equal circles lie on a diagonal of the square [-1, 1]^2 and together cover half of it, so both
classes are equally likely. The gap between them, and between each and the sides, is narrow: few
points tell where the border runs, and those are what importance sampling should find.
"""

import math

import torch
from torch import Tensor

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
