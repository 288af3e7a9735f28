"""torch.topk."""

import torch
from torch import Tensor

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer
from bench.operators.timing import Function


def draw_largest(weights: Tensor, n: int) -> Function:
    return lambda: torch.topk(weights, n).indices


PEER = Peer("torch.topk", {jobs.DRAW_LARGEST: draw_largest})
