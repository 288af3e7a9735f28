"""What the pytest-benchmark files set beside each other."""

from collections.abc import Callable

import pytest

from bench.operators.peers.by_compiler import COMPILE, compiled
from bench.operators.peers.eager import EAGER
from bench.operators.peers.peer import error_line
from bench.report.operator_tables import OURS

CANDIDATES = (OURS, EAGER, COMPILE)


def pick(
    candidate: str, ours: Callable[..., object], peer: Callable[..., object], *inputs: object
) -> Callable[..., object]:
    """The function to time; skips the test if it is torch.compile and that does not work here."""
    if candidate == OURS:
        return ours
    if candidate == EAGER:
        return peer
    try:
        return compiled(peer, *inputs)
    except Exception as error:
        pytest.skip(error_line(error))
