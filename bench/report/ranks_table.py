"""The table of what a step takes with the rows of all ranks."""

from typing import Any

from bench.report.machine import measured_on
from bench.report.table import table

HEADINGS = ["ranks", "rows of", "method", "a step", "over own rows", "bytes heard a step"]


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """The table's lines."""
    return table(HEADINGS, [cells(row) for row in rows])


def markdown(result: dict[str, Any]) -> str:
    """The table, what it is of, and the machine."""
    told = (
        f"A step without its training: scoring {result['K']} rows of each rank by the network of "
        f"Two Circles, drawing {result['n']} for each, and gathering. Ranks are processes that "
        "share the processor and talk by gloo over loopback."
    )
    measured = f"Measured on {measured_on(result)}."
    return "\n".join([*lines(result["rows"]), "", told, measured]) + "\n"


def cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["ranks"]),
        row["kind"],
        row["method"],
        f"{row['microseconds']:.0f} µs",
        f"{row['over_own'] / 1000:+.2f} ms",
        f"{row['bytes']:,}",
    ]
