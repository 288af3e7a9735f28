"""Small trainings on the ranks of a process group."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

C = 3
N = 12  # rows that a selector of all ranks draws


class Communicating(nn.Module):
    """A layer whose forward pass all ranks must do in the same steps."""

    def __init__(self, group: Any) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        dist.all_reduce(torch.ones(1), group=self.group)
        return x


def make_model(*layers: nn.Module) -> nn.Sequential:
    """The same on all ranks, with batch norm, and the layers before its last one."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), *layers, nn.Linear(7, C))


def plain_model() -> nn.Module:
    """The same on all ranks, in float64, and each row by itself."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, C)).double()


def large_batch(rank: int, step: int, K: int = 64) -> tuple[Tensor, Tensor]:
    """The rows of a rank; those of rank 1 are noisier."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    x = torch.randn(K, 5, generator=generator)
    noise = torch.randn(K, C, generator=generator)
    return x, (x[:, :C] + (0.1 + 2 * rank) * noise).argmax(1)


def rows_on(rank: int, step: int) -> tuple[Tensor, Tensor]:
    """The same in float64."""
    x, y = large_batch(rank, step)
    return x.double(), y
