"""The kernels on the host."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.devices import is_double, leave_out
from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS

HERE = Path(__file__).parent
# For CUDA's whole grid: Metal's ways change at smaller numbers.
TOO_MANY_ROWS = ("65536", "66000", "70000", "100003", "200000")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what tests of CUDA that are taken over do in float64 or with too many rows."""

    def is_too_much(item: pytest.Item) -> bool:
        if HERE not in item.path.parents:
            return False
        callspec = getattr(item, "callspec", None)
        parameters = str(callspec.params) if callspec else ""
        return is_double(item) or any(rows in parameters for rows in TOO_MANY_ROWS)

    leave_out(config, items, is_too_much)


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


@pytest.fixture(scope="module")
def running() -> Iterator[FakeMPS]:
    """A fake ``torch.mps`` whose kernels the stand-in runs."""
    with closing(FakeMPS(order=5)) as mps:
        yield mps
