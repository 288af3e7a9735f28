"""The draws of Metal, run on the host: what is asked of CUDA's (tests/cuda/test_draw.py)."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.cuda.test_draw import *  # noqa: F403
from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS

# What Metal has no part in: sizes of shared memory, seeds that CUDA reads.
for name in (
    "test_little_shared_memory",
    "test_long_stripes_at_an_aligned_address",
    "test_the_seed_is_made_of_a_generator",
    "test_the_seed_is_read_by_the_whole_grid",
):
    del globals()[name]


@pytest.fixture(scope="module")
def shuffled() -> Iterator[MetalDevice]:
    """The device with one order, for what takes long; odd addresses."""
    with closing(FakeMPS(order=3)) as mps:
        mps.shift = 1
        yield MetalDevice(mps)
