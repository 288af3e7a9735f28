"""The kernels on the host, for tests that run them in each order of threads."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS


@pytest.fixture(scope="module", params=[1, 17], ids=["descending", "shuffled"])
def shim(request: pytest.FixtureRequest) -> Iterator[MetalDevice]:
    """What the tests of tests/cuda ask of a device, in two orders of threads."""
    with closing(FakeMPS(order=request.param)) as mps:
        yield MetalDevice(mps)


@pytest.fixture(scope="module")
def one_order() -> Iterator[MetalDevice]:
    """The device with one order, for what does not depend on it."""
    with closing(FakeMPS(order=5)) as mps:
        yield MetalDevice(mps)
