"""Strategies of the batch level on an Apple GPU that is played by the CPU, on Metal's kernels.

Tensors say that they are on ``mps`` (tests/elsewhere.py), and the operators run what is registered
there. One of the steps has a NaN.
"""

from collections.abc import Iterator

import pytest

from tests import elsewhere
from tests.batch.test_faults import test_an_accelerator_is_not_waited_for  # noqa: F401
from tests.metal.fake_mps import FakeMPS, on_mps


@pytest.fixture(autouse=True)
def mps(running: FakeMPS, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operators run on Metal's kernels."""
    running.forget_launches()
    monkeypatch.setattr(elsewhere, "_marked", on_mps)
    with running.active():
        yield
    assert running.launches
