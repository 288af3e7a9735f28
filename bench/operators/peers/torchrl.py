"""torchrl's prioritized replay: a tree of sums, made for few weights that change at a time."""

from typing import Any

import torch
from torch import Tensor

from bench.operators.peers import jobs
from bench.operators.peers.peer import Peer, cannot_import
from bench.operators.timing import Function


def sampler(rows: int) -> Any:
    from torchrl.data.replay_buffers.samplers import PrioritizedSampler

    return PrioritizedSampler(rows, alpha=1.0, beta=1.0)


def storage(rows: int) -> Any:
    from torchrl.data import TensorStorage

    return TensorStorage(torch.arange(rows))


def available() -> str | None:
    if reason := cannot_import("torchrl"):
        return reason
    if cannot_import("torchrl._torchrl"):  # the tree, compiled for one version of torch
        return f"its extension does not load beside torch {torch.__version__}"
    return None


def draw(weights: Tensor, n: int) -> Function:
    return draw_updated(weights, torch.arange(len(weights)), weights, n)


def draw_updated(weights: Tensor, rows: Tensor, values: Tensor, n: int) -> Function:
    samples, priorities = storage(len(weights)), sampler(len(weights))
    priorities.update_priority(torch.arange(len(weights)), weights)

    def update_and_sample() -> Tensor:
        priorities.update_priority(rows, values)
        index: Tensor = priorities.sample(samples, n)[0]
        return index

    return update_and_sample


PEER = Peer(
    "torchrl's PrioritizedSampler",
    {jobs.DRAW: draw, jobs.DRAW_UPDATED: draw_updated},
    package="torchrl",
    available=available,
)
