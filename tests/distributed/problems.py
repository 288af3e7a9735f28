"""Random rows of several ranks: uneven, some with none, some of zeros."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from impsamp_fast.distributed import _gathered
from tests.methods import METHODS, WITHOUT_REPLACEMENT

CORRECTIONS = ("none", "unbiased", "normalized", 0.5)


class Problem(NamedTuple):
    """Weights, logits and targets of the rows of each rank, and what is asked of them."""

    weights: list[Tensor]
    logits: list[Tensor]
    target: list[Tensor]
    n: int
    method: str
    correction: str | float
    smoothing: float
    score: str


def problem(number: int, ranks: int) -> Problem:
    """The same on all ranks."""
    draw = random.Random(f"{number} {ranks}")
    generator = torch.Generator().manual_seed(number)
    sizes = [draw.choice((0, 1, 7, 64, 200)) for _ in range(ranks)]
    sizes[draw.randrange(ranks)] = draw.choice((5, 300))
    dtype = draw.choice((torch.float32, torch.float64))
    C = draw.choice((2, 10))
    K = sum(sizes)
    logits = 3 * torch.randn(K, C, generator=generator, dtype=dtype)
    target = torch.randint(C, (K,), generator=generator)
    target[torch.rand(K, generator=generator) < draw.choice((0, 0.3))] = -100
    weights = torch.randn(K, generator=generator, dtype=dtype).mul(draw.choice((0.1, 10))).exp()
    weights[torch.rand(K, generator=generator) < draw.choice((0, 0.3))] = 0
    zeros = draw.randrange(ranks + 1)  # a rank of zeros, or none
    begin = sum(sizes[:zeros])
    end = begin + sizes[zeros] if zeros < ranks else begin
    weights[begin:end] = 0
    target[begin:end] = -100
    if (target == -100).all():
        target[-1] = 0
    smoothing = draw.choice((0.0, 0.0, 0.2, 1.0))
    method = draw.choice(METHODS)
    return Problem(
        *(list(value.split(sizes)) for value in (weights, logits, target)),
        n=draw.choice((1, 3, 50, 500)),
        method=method,
        correction=draw.choice(CORRECTIONS),
        smoothing=smoothing,
        score=draw.choice(("loss", "grad_norm", "p_wrong")),
    )


def largest_n(weights: Tensor, method: str, n: int) -> int:
    """n, or as many as can be drawn."""
    if method not in WITHOUT_REPLACEMENT:
        return n
    return min(n, int((weights > 0).sum()) or weights.numel())


@contextmanager
def most_rows_sent(rows: int) -> Iterator[None]:
    """Ranks with more rows than that go by stages."""
    before, _gathered._MOST = _gathered._MOST, rows
    try:
        yield
    finally:
        _gathered._MOST = before
