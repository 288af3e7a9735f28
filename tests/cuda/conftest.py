"""The kernels on the host, for tests that run them in each order of threads."""

from collections.abc import Iterator

import pytest

from tests.cuda.shim_device import ShimDevice


@pytest.fixture(scope="module", params=[0, 1, 17], ids=["ascending", "descending", "shuffled"])
def shim(request: pytest.FixtureRequest) -> Iterator[ShimDevice]:
    """The device, with each order in which threads may run."""
    with ShimDevice(order=request.param) as device:
        yield device


@pytest.fixture(scope="module")
def one_order() -> Iterator[ShimDevice]:
    """The device with one order, for what does not depend on it."""
    with ShimDevice(order=5) as device:
        yield device
