"""A queue that is easy to follow: it keeps the rows of one class."""

import torch
from torch import Tensor, nn

from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.filters import Filter
from impsamp_fast.ops import RowStats
from tests.toy import C


class OfClass(Filter):
    """Lets pass the rows of one class."""

    def __init__(self, y: int) -> None:
        self.y = y

    def __call__(self, stats: RowStats, y: Tensor) -> Tensor:
        return y == self.y


def raw(*classes: int) -> tuple[Tensor, Tensor]:
    """A raw batch of these classes; x is its logits, all equal."""
    y = torch.tensor(classes)
    return torch.zeros(len(y), C), y


def ones(n: int, **options) -> Accumulator:
    """Collects the rows of class 1 of raw batches that are logits."""
    return Accumulator(nn.Identity(), n, OfClass(1), **options)
