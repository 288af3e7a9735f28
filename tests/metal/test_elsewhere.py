"""What the host sees of a device that is not its own: validation, and no waiting.

Tensors say that they are on ``mps`` (tests/elsewhere.py), and the operators run what is registered
there.
"""

from collections.abc import Iterator

import pytest
import torch

import impsamp_fast as isf
from tests import elsewhere
from tests.cuda.test_operators import TestValidate, batch, every_operator  # noqa: F401
from tests.elsewhere import DEVICE, Elsewhere, accelerator
from tests.metal.fake_mps import FakeMPS, on_mps


@pytest.fixture(autouse=True)
def mps(running: FakeMPS, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(elsewhere, "_marked", on_mps)
    with running.active(), accelerator():
        yield


@pytest.fixture
def device() -> torch.device:
    return DEVICE


def test_no_operator_waits() -> None:
    logits, target = batch(DEVICE)
    Elsewhere.waits = Elsewhere.copies = 0
    every_operator(logits, target)
    every_operator(logits * torch.nan, target, generator=None)
    isf.smoothed(isf.score(logits, target), 0.1)
    assert Elsewhere.waits + Elsewhere.copies == 0
