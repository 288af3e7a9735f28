"""numpy's choice by probabilities, which it wants in double precision and adding up to 1."""

from functools import partial

import torch
from torch import Tensor

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer, cannot_import
from bench.operators.timing import Function


def draw(replace: bool, weights: Tensor, n: int) -> Function:
    import numpy as np

    generator = np.random.default_rng()

    def normalize_and_choose() -> Tensor:
        p = weights.double().numpy()
        rows = generator.choice(len(p), n, replace=replace, p=p / p.sum())
        return torch.from_numpy(rows)

    return normalize_and_choose


PEER = Peer(
    "numpy's choice",
    {jobs.DRAW: partial(draw, True), jobs.DRAW_WITHOUT_REPLACEMENT: partial(draw, False)},
    package="numpy",
    available=partial(cannot_import, "numpy"),
)
