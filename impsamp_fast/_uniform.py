"""Uniform draws of rows and samples."""

import torch
from torch import Tensor

from impsamp_fast.ops import draw


def uniform_rows(K: int, n: int, seed: int | Tensor, device: torch.device) -> Tensor:
    """n of K rows, uniformly without replacement, in random order: [n] int64."""
    equal = torch.ones(K, dtype=torch.float32, device=device)
    return draw(equal, n, "race", seed).index


def fill(rows: Tensor, others: Tensor, n: int, seed: int) -> Tensor:
    """The rows and, where these are fewer than n, random others after them."""
    missing = min(n - rows.numel(), others.numel())
    if missing <= 0:
        return rows
    return torch.cat([rows, others[uniform_rows(others.numel(), missing, seed, others.device)]])
