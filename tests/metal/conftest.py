"""The kernels on the host."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what tests of CUDA that are taken over do in float64, which Metal has not."""

    def is_double(item: pytest.Item) -> bool:
        callspec = getattr(item, "callspec", None)
        parameters = callspec.params.values() if callspec else ()
        return HERE in item.path.parents and ("float64" in item.name or torch.float64 in parameters)

    left_out = [item for item in items if is_double(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not is_double(item)]


@pytest.fixture(scope="module")
def shim() -> Iterator[MetalDevice]:
    """What the tests of tests/cuda ask of a device; other orders of threads are in other tests."""
    with closing(FakeMPS(order=17)) as mps:
        yield MetalDevice(mps)


@pytest.fixture(scope="module")
def one_order() -> Iterator[MetalDevice]:
    """The device with one order, for what does not depend on it."""
    with closing(FakeMPS(order=5)) as mps:
        yield MetalDevice(mps)
