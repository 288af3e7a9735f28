"""The toy problem that selectors are tested on: K rows in, n out, C classes."""

import torch
from torch import Tensor, nn

K, N, C = 64, 16, 3

# What strategies have to be told besides a model and n, for a data set of that size.
SAMPLES = 1000
REQUIRED = {
    "rho-loss": {"irreducible": torch.linspace(0, 2, SAMPLES)},
}
OWN_NETWORK = ("mentornet", "autoassist")  # beside the model
NUMBERED = ("es", "rho-loss")  # which need the samples' numbers


def seed_of_step(seed: int, step: int) -> int:
    """The seed of a run's step."""
    return (seed + step * 0x9E3779B97F4A7C15) % 2**64


class Counted(nn.Module):
    """Counts the rows of each forward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return self.model(x)
