"""Steps for memories of samples, and what to compare of these and of samplers."""

import torch
from torch import Tensor

from impsamp_fast.dataset import DatasetSampler
from impsamp_fast.dataset.sample_memory import SampleMemory

EVERYTHING = ("loss", "p_true", "labels", "picks")


def steps(count: int, size: int, n: int, classes: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Training steps: index, logits and target."""
    return [
        (torch.randint(size, (n,)), 2 * torch.randn(n, classes), torch.randint(classes, (n,)))
        for _ in range(count)
    ]


def snapshot(memory: SampleMemory) -> dict[str, Tensor]:
    """Its statistics of the samples."""
    return {name: value for name, value in memory.state_dict().items() if isinstance(value, Tensor)}


def learned(sampler: DatasetSampler) -> dict[str, Tensor]:
    """All that a sampler knows of the samples."""
    state = sampler.state_dict()
    known = state["tables"] | (state["memory"] or {})
    return {name: value for name, value in known.items() if isinstance(value, Tensor)}


def assert_same(found: SampleMemory, expected: SampleMemory) -> None:
    """The same statistics, bit by bit."""
    assert_same_state(snapshot(found), snapshot(expected))


def assert_same_state(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert torch.equal(found[name].nan_to_num(-1), value.nan_to_num(-1)), name
