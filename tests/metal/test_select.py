"""The selections of Metal, run on the host: what is asked of CUDA's (tests/cuda/test_select.py)."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.cuda.test_select import *  # noqa: F403
from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS

# What Metal has no part in: sizes of shared memory, seeds that CUDA reads.
for name in ("test_little_shared_memory",):
    del globals()[name]


@pytest.fixture(scope="module")
def shuffled() -> Iterator[MetalDevice]:
    """The device with one order, for what takes long; odd addresses."""
    with closing(FakeMPS(order=3)) as mps:
        mps.shift = 1
        yield MetalDevice(mps)
