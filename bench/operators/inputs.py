"""What the operator benchmarks are run on."""

import torch
from torch import Tensor

WIDE = 32000  # classes, as many as a language model's tokens
SIZES = [(K, C) for K in (1024, 4096) for C in (2, 10, 100, 1000)]


def logits_and_target(K: int, C: int) -> tuple[Tensor, Tensor]:
    """Logits [K, C] spread as those of a network that has learned something, and classes [K]."""
    generator = torch.Generator().manual_seed(0)
    logits = 3.0 * torch.randn(K, C, generator=generator)
    return logits, torch.randint(C, (K,), generator=generator)
