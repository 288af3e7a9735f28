"""Plain torch, written as well as it allows.

In particular no one-hot matrix is built: taking 1 from the target's probability in place is several
times faster when there are many classes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.operators.peers import jobs
from bench.operators.peers.peer import Maker, Peer
from bench.operators.timing import Function

EAGER = "plain torch"


def losses(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none")


def row_stats(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Per-row loss and |softmax - onehot|, each [K]."""
    gradient = logits.softmax(-1)
    gradient.scatter_add_(1, target[:, None], gradient.new_full((len(target), 1), -1.0))
    return losses(logits, target), torch.linalg.vector_norm(gradient, dim=-1)


def linear_losses(features: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    return losses(F.linear(features, weight), target)


def select(logits: Tensor, target: Tensor, n: int) -> tuple[Tensor, ...]:
    """Index [n], unbiased weight [n], gradient norm [K] and loss [K]: a whole `select`."""
    loss, norm = row_stats(logits, target)
    index = torch.multinomial(norm, n, replacement=True)
    weight = norm.sum() / (len(norm) * norm[index])
    return index, weight, norm, loss


def draw_by_rank(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Function:
    weights = jobs.rank_weights(len(x), n)

    def forward_and_draw() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            ascending = losses(model(x), y).argsort()
        index = ascending[torch.multinomial(weights, n)]
        return x[index], y[index]

    return forward_and_draw


def calling(function: Callable[..., object]) -> Maker:
    return lambda *inputs: lambda: function(*inputs)


PEER = Peer(
    EAGER,
    {
        jobs.LOSSES: calling(losses),
        jobs.ROW_STATS: calling(row_stats),
        jobs.LINEAR_LOSSES: calling(linear_losses),
        jobs.SELECT: calling(select),
        jobs.DRAW_BY_RANK: draw_by_rank,
    },
)
