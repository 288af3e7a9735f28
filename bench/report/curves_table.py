"""The sweeps in a table: each point's best peer, and its share of the bandwidth of a read."""

from typing import Any

from bench.report.machine import measured_on
from bench.report.operator_tables import OURS, best_peer, duration, ratio
from bench.report.table import table

HEADINGS = ["what", OURS, "the best peer", "takes", "ratio", "of a read"]
SIZES = ("K", "n", "C")

Sweep = dict[str, Any]
Point = dict[str, Any]


def markdown(result: dict[str, Any]) -> str:
    """A row per point of each sweep, and how fast the machine reads."""
    rows = [row_of(sweep, point) for sweep in result["sweeps"] for point in sweep["points"]]
    reads = [sweep["read_bandwidth"] / 1e9 for sweep in result["sweeps"]]
    told = (
        f"Of a read: what reading logits or weights once takes, at {min(reads):.0f} to "
        f"{max(reads):.0f} GB/s, over what we take; what lies in a cache is read faster."
    )
    lines = table(HEADINGS, rows)
    return "\n".join([*lines, "", f"{told}\nMeasured on {measured_on(result)}."]) + "\n"


def row_of(sweep: Sweep, point: Point) -> list[str]:
    sizes = ", ".join(f"{size}={point[size]}" for size in SIZES if size in point)
    dtype = "" if sweep["dtype"] == "float32" else f", {sweep['dtype']}"
    ours = point["microseconds"][OURS]["median"]
    peer, theirs = best_peer(point["microseconds"])
    name = f"{sweep['job']}, {sizes}{dtype}"
    share = f"{read_share(sweep, point):.2f}"
    return [name, duration(ours), peer, duration(theirs), ratio(theirs / ours), share]


def read_share(sweep: Sweep, point: Point) -> float:
    """What reading the input once takes, over what ours takes."""
    seconds = 1e-6 * point["microseconds"][OURS]["median"]
    share: float = point["bytes"] / sweep["read_bandwidth"] / seconds
    return share
