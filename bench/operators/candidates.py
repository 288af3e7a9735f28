"""What the pytest-benchmark files set beside each other."""

from collections.abc import Callable

import pytest

from bench.operators.peers import COMPILE, EAGER, compiled
from bench.report.operator_tables import OURS

CANDIDATES = (OURS, EAGER, COMPILE)


def pick(
    candidate: str, ours: Callable[..., object], peer: Callable[..., object], *inputs: object
) -> Callable[..., object]:
    """The function to time; skips the test if it is torch.compile and that does not work here."""
    if candidate == OURS:
        return ours
    function = peer if candidate == EAGER else compiled(peer, *inputs)
    if function is None:
        pytest.skip("torch.compile does not work here")
    return function
