"""Whom the pytest-benchmark files set beside each other."""

from collections.abc import Callable

import pytest

from bench.operators.peers import compiled

CANDIDATES = ("impsamp_fast", "plain torch", "torch.compile")


def pick(
    candidate: str, ours: Callable[..., object], peer: Callable[..., object], *inputs: object
) -> Callable[..., object]:
    """The function to time; skips the test if it is torch.compile and that does not work here."""
    if candidate == "impsamp_fast":
        return ours
    function = peer if candidate == "plain torch" else compiled(peer, *inputs)
    if function is None:
        pytest.skip("torch.compile does not work here")
    return function
