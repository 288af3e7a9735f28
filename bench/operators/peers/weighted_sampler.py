"""torch's sampler for a DataLoader: a list of row numbers, by weights in double precision."""

from functools import partial

from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer
from bench.operators.timing import Function


def draw(replacement: bool, weights: Tensor, n: int) -> Function:
    # Its stubs ask for a sequence; its documentation and its code take a tensor.
    return lambda: list(WeightedRandomSampler(weights, n, replacement))  # type: ignore[arg-type]


PEER = Peer(
    "WeightedRandomSampler",
    {jobs.DRAW: partial(draw, True), jobs.DRAW_WITHOUT_REPLACEMENT: partial(draw, False)},
)
