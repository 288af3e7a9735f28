"""How far the kernels of each device are proven, by bench/results/devices.json."""

from typing import Any

from bench.report.table import table

HEADINGS = ["device", "built", "its kernels run in the tests on", "run on hardware"]


def markdown(devices: dict[str, dict[str, Any]]) -> str:
    """The README's table of support."""
    rows = [
        [name, facts["built"], facts["in_tests"], hardware(facts)]
        for name, facts in devices.items()
    ]
    return "\n".join(table(HEADINGS, rows)) + "\n"


def hardware(facts: dict[str, Any]) -> str:
    """What the kernels last ran on without an error, and when."""
    if facts["on_hardware"] is None:
        return "not yet"
    return f"{facts['on_hardware']}, {facts['date']}"
