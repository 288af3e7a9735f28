"""torch's cross entropy of a linear layer, in chunks: the logits are never all in memory."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer
from bench.operators.timing import Function


def available() -> str | None:
    if hasattr(F, "linear_cross_entropy"):
        return None
    return f"torch {torch.__version__} has no linear_cross_entropy"


def linear_losses(features: Tensor, weight: Tensor, target: Tensor) -> Function:
    options = nn.LinearCrossEntropyOptions()
    return lambda: F.linear_cross_entropy(
        features, weight, target, reduction="none", options=options
    )


PEER = Peer("linear_cross_entropy", {jobs.LINEAR_LOSSES: linear_losses}, available=available)
