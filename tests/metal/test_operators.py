"""The public functions on Metal's kernels: what they promise on every device.

Tensors are the CPU's, which the operators take for those of an Apple GPU.
"""

from collections.abc import Iterator

import pytest
import torch

import impsamp_fast as isf
from tests.cuda.test_operators import *  # noqa: F403
from tests.devices import CPU
from tests.metal.fake_mps import ByMetal, FakeMPS
from tests.methods import METHODS

# What the host only sees on a device that is not the CPU's; tests/metal/test_elsewhere.py has it.
for name in ("TestValidate", "TestDevices"):
    del globals()[name]


@pytest.fixture
def device() -> torch.device:
    return CPU


@pytest.fixture
def gpu() -> torch.device:
    return CPU


@pytest.fixture(autouse=True)
def mps(running: FakeMPS) -> Iterator[FakeMPS]:
    running.forget_launches()
    with running.active(), ByMetal():
        yield running


@pytest.mark.parametrize("method", METHODS)
def test_a_small_selection_is_one_launch(mps: FakeMPS, method: str) -> None:
    logits, target = torch.randn(1024, 10), torch.randint(10, (1024,))
    isf.select(logits, target, 128, method=method, correction="normalized", smoothing=0.1)
    assert len(mps.launches) == 1
    assert mps.launches[0].startswith("select_")


def test_launches_of_larger_selections(mps: FakeMPS) -> None:
    logits, target = torch.randn(40, 100), torch.randint(100, (40,))
    isf.select(logits, target, 8)
    assert sorted(mps.launches) == ["draw_points_float", "row_stats_float"]
    mps.forget_launches()
    isf.select(logits, target, 8, score="last_layer", features=torch.randn(40, 3))
    assert sorted(mps.launches) == ["draw_points_float", "last_layer_float", "row_stats_float"]
