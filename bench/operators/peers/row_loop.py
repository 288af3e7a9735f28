"""A backward pass of its own for each row, as Knutsson et al. 2023 scored theirs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer
from bench.operators.timing import Function


def row_loop_grad_norm(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient norm of the output bias, row by row [K].

    The authors also asked autograd for a graph of the gradient (`create_graph=True`); leaving that
    out makes this peer faster.
    """
    bias = list(model.parameters())[-1]
    norms = []
    for row, target in zip(x, y, strict=True):
        loss = F.cross_entropy(model(row[None]), target[None])
        (gradient,) = torch.autograd.grad(loss, bias)
        norms.append(gradient.norm().item())
    return torch.tensor(norms)


def gradient_norms(model: nn.Module, x: Tensor, y: Tensor) -> Function:
    return lambda: row_loop_grad_norm(model, x, y)


PEER = Peer("row-by-row backward loop", {jobs.GRADIENT_NORMS: gradient_norms})
