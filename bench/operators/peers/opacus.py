"""Opacus' per-sample norms by ghost clipping, which makes no per-sample gradients."""

import copy
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer, cannot_import
from bench.operators.timing import Function


def gradient_norms(model: nn.Module, x: Tensor, y: Tensor) -> Function:
    """All but the output bias are frozen: no other gradient is asked for."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    own = copy.deepcopy(model).requires_grad_(False)
    list(own.parameters())[-1].requires_grad_(True)
    wrapped = GradSampleModuleFastGradientClipping(own, loss_reduction="sum")

    def backward_and_norms() -> Tensor:
        F.cross_entropy(wrapped(x), y, reduction="sum").backward()
        norms: Tensor = wrapped.get_norm_sample()
        wrapped.zero_grad()
        return norms

    return backward_and_norms


PEER = Peer(
    "Opacus",
    {jobs.GRADIENT_NORMS: gradient_norms},
    package="opacus",
    available=partial(cannot_import, "opacus.grad_sample"),
)
