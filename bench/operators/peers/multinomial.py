"""torch.multinomial: cumulative sums with replacement, an exponential race without."""

import torch
from torch import Tensor

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer
from bench.operators.timing import Function


def draw(weights: Tensor, n: int) -> Function:
    return lambda: torch.multinomial(weights, n, replacement=True)


def draw_without_replacement(weights: Tensor, n: int) -> Function:
    return lambda: torch.multinomial(weights, n)


def draw_updated(weights: Tensor, rows: Tensor, values: Tensor, n: int) -> Function:
    return lambda: torch.multinomial(weights.index_copy_(0, rows, values), n, replacement=True)


PEER = Peer(
    "torch.multinomial",
    {
        jobs.DRAW: draw,
        jobs.DRAW_WITHOUT_REPLACEMENT: draw_without_replacement,
        jobs.DRAW_UPDATED: draw_updated,
    },
)
