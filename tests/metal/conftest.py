"""The kernels on the host."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS


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
