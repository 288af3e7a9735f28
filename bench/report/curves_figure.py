"""The figure of what operators take over sizes and dtypes, drawn from its result alone."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.curves_table import Sweep, read_share
from bench.report.figures import STYLE
from bench.report.operator_tables import OURS, best_peer

# Okabe and Ito's colours, which all readers can tell apart; marks tell the lines apart in grey.
LOOKS = {
    OURS: ("#0072B2", "o"),
    "plain torch": ("#D55E00", "s"),
    "torch.compile": ("#009E73", "^"),
    "torch.multinomial": ("#D55E00", "s"),
    "numpy's choice": ("#009E73", "^"),
    "WeightedRandomSampler": ("#CC79A7", "v"),
    "torchrl's PrioritizedSampler": ("#E69F00", "D"),
}
DTYPES = {
    "float64": ("#E69F00", "D"),
    "float32": ("#0072B2", "o"),
    "float16": ("#009E73", "^"),
    "bfloat16": ("#CC79A7", "v"),
}
JOBS = ("row_stats", "select", "draw", "draw without replacement")
UNITS = {"K": "rows K", "C": "classes C", "n": "drawn rows n"}
GUIDE = {"color": "#777777", "linewidth": 0.9, "linestyle": (0, (4, 3))}


def draw(result: dict[str, Any], path: Path) -> Path:
    """Time against sizes, a row a job; below, the dtypes and the share of a read's bandwidth."""
    single = [sweep for sweep in result["sweeps"] if sweep["dtype"] == "float32"]
    with rc_context(STYLE):
        figure = Figure((9, 14), layout="constrained")
        axes = figure.subplots(len(JOBS) + 1, 2)
        for row, job in zip(axes, JOBS, strict=False):
            for ax, sweep in zip(row, (s for s in single if s["job"] == job), strict=True):
                draw_times(ax, sweep)
            row[0].set_ylabel("microseconds")
            row[0].legend(loc="upper left")
        over_classes = [sweep for sweep in result["sweeps"] if sweep["axis"] == "C"]
        draw_dtypes(axes[-1, 0], over_classes)
        draw_shares(axes[-1, 1], single)
        figure.savefig(path)
    return path


def draw_times(ax: Axes, sweep: Sweep) -> None:
    """Ours and all peers."""
    for name, (colour, mark) in LOOKS.items():
        points = [point for point in sweep["points"] if name in point["microseconds"]]
        if points:
            x = [point[sweep["axis"]] for point in points]
            y = [point["microseconds"][name]["median"] for point in points]
            width = 2.0 if name == OURS else 1.1
            ax.loglog(x, y, color=colour, marker=mark, markersize=4, linewidth=width, label=name)
    label(ax, f"{sweep['job']}, {held(sweep)}", UNITS[sweep["axis"]])


def draw_dtypes(ax: Axes, sweeps: list[Sweep]) -> None:
    """Ours as lines, the best peer of each dtype dashed."""
    for sweep in sweeps:
        colour, mark = DTYPES[sweep["dtype"]]
        look = {"color": colour, "marker": mark, "markersize": 4}
        x = [point["C"] for point in sweep["points"]]
        ours = [point["microseconds"][OURS]["median"] for point in sweep["points"]]
        ax.loglog(x, ours, label=sweep["dtype"], linewidth=1.6, **look)
        best = [best_peer(point["microseconds"])[1] for point in sweep["points"]]
        ax.loglog(x, best, linestyle="--", linewidth=1.0, **look)
    ax.set_ylabel("microseconds")
    label(ax, f"row_stats, {held(sweeps[0])}; dashed: the best peer", UNITS["C"])
    ax.legend()


def draw_shares(ax: Axes, sweeps: list[Sweep]) -> None:
    """Reading the input once at the bandwidth of a large read, over what ours takes."""
    for job, (colour, mark) in zip(JOBS, DTYPES.values(), strict=True):
        points = [(s, point) for s in sweeps if s["job"] == job for point in s["points"]]
        x = [point["bytes"] / 2**20 for _, point in points]
        y = [read_share(*point) for point in points]
        ax.loglog(x, y, mark, color=colour, markersize=4, label=job)
    ax.axhline(1.0, **GUIDE)
    ax.set_ylabel("share of a read's bandwidth")
    label(ax, f"{OURS}, all sizes", "MiB of logits or weights")
    ax.legend()


def label(ax: Axes, title: str, x: str) -> None:
    ax.set_title(title)
    ax.set_xlabel(x)


def held(sweep: Sweep) -> str:
    """The sizes that all points share."""
    first, *others = sweep["points"]
    same = [
        f"{size} = {first[size]:,}"
        for size in ("K", "n", "C")
        if size in first and size != sweep["axis"] and all(p[size] == first[size] for p in others)
    ]
    if sweep["axis"] == "K" and "n" in first and len({p["n"] for p in sweep["points"]}) > 1:
        same.append("n = K / 8")
    return ", ".join(same)
