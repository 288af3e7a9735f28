"""Plain torch by torch.compile, where it gains something: it needs a compiler for C++."""

from collections.abc import Callable
from typing import Any

import torch

from bench.operators.peers import eager, jobs
from bench.operators.peers.peer import Maker, Peer
from bench.operators.timing import Function

COMPILE = "torch.compile"


def compiled(function: Callable[..., object], *inputs: Any) -> Callable[..., object]:
    """`function` by torch.compile for inputs of these shapes, already compiled.

    An error is the compiler's: it does not work here.
    """
    torch.compiler.reset()
    result: Callable[..., object] = torch.compile(function, dynamic=False, fullgraph=True)
    result(*inputs)
    return result


def calling(function: Callable[..., object]) -> Maker:
    def make(*inputs: Any) -> Function:
        result = compiled(function, *inputs)
        return lambda: result(*inputs)

    return make


PEER = Peer(
    COMPILE,
    {
        jobs.LOSSES: calling(eager.losses),
        jobs.ROW_STATS: calling(eager.row_stats),
        jobs.LINEAR_LOSSES: calling(eager.linear_losses),
        jobs.SELECT: calling(eager.select),
    },
)
