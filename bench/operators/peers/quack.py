"""QuACK's cross entropy, in CuTe: the loss alone."""

from functools import partial

from torch import Tensor

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer, cannot_import_on_cuda
from bench.operators.timing import Function


def losses(logits: Tensor, target: Tensor) -> Function:
    from quack import cross_entropy

    return lambda: cross_entropy(logits, target, reduction="none")


PEER = Peer(
    "QuACK",
    {jobs.LOSSES: losses},
    package="quack-kernels",
    available=partial(cannot_import_on_cuda, "quack"),
)
