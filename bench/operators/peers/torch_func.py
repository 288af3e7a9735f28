"""Per-sample gradients by torch.func, as torch's tutorial makes them: vmap of grad."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer
from bench.operators.timing import Function


def gradient_norms(model: nn.Module, x: Tensor, y: Tensor) -> Function:
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    bias = list(parameters)[-1]

    def loss(value: Tensor, row: Tensor, target: Tensor) -> Tensor:
        logits = functional_call(model, parameters | {bias: value}, (row[None],))
        return F.cross_entropy(logits, target[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))
    return lambda: gradients(parameters[bias], x, y).norm(dim=-1)


PEER = Peer("torch.func, vmap of grad", {jobs.GRADIENT_NORMS: gradient_norms})
