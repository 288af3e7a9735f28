"""Composer's selective backprop: rows drawn by the rank of their losses, and gathered."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer, cannot_import
from bench.operators.timing import Function

MODULE = "composer.algorithms.selective_backprop.selective_backprop"


def draw_by_rank(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Function:
    from composer.algorithms.selective_backprop.selective_backprop import select_using_loss

    return lambda: select_using_loss(x, y, model, F.cross_entropy, keep=n / len(x))


PEER = Peer(
    "composer's select_using_loss",
    {jobs.DRAW_BY_RANK: draw_by_rank},
    package="mosaicml",
    available=partial(cannot_import, MODULE),
)
