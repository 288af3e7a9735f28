"""Liger's cross entropy, in Triton: the loss alone."""

from functools import partial

from torch import Tensor

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer, cannot_import_on_cuda
from bench.operators.timing import Function


def losses(logits: Tensor, target: Tensor) -> Function:
    from liger_kernel.transformers.functional import liger_cross_entropy

    return lambda: liger_cross_entropy(logits, target, reduction="none")


PEER = Peer(
    "Liger",
    {jobs.LOSSES: losses},
    package="liger-kernel",
    available=partial(cannot_import_on_cuda, "liger_kernel.transformers.functional"),
)
