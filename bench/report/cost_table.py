"""The cost model beside what was measured: what a step takes, what it is worth, and the time."""

import math
from statistics import fmean
from typing import Any

from bench.report.files import RESULTS, read_json
from bench.report.results import ROW_LOOP, is_baseline, runs_of, share_of_uniform
from bench.report.table import table

COMPARISONS = (
    *("two-circles", "mnist", "mnist-long", "mnist-compiled", "fashion-mnist"),
    *("cifar10", "cifar100", "patch-camelyon"),
)
HEADINGS = [
    *("training", "strategy", "a step takes", "tau", "is worth"),
    *("time to target", "so it is"),
]


def markdown() -> str:
    """One row per strategy of the comparisons that scores; all in units of uniform sampling's."""
    rows = []
    for comparison in (name + kind for name in COMPARISONS for kind in ("", "-tuned")):
        if not (file := RESULTS / f"{comparison}.json").exists():
            continue
        results = read_json(file)
        names = [n for n in results["strategies"] if not is_baseline(n) and n != ROW_LOOP]
        rows += [[comparison, *cells(results, name)] for name in names]
    return "\n".join(table(HEADINGS, rows)) + "\n"


def cells(results: dict[str, Any], name: str) -> list[str]:
    steps, seconds = (
        share_of_uniform(results, name, results["target"], unit) for unit in ("step", "seconds")
    )
    takes = seconds_per_step(results, name) / seconds_per_step(results, "uniform")
    strategy = results["strategies"][name]
    label = strategy["label"] + (", not weighted" if strategy["correction"] == "none" else "")
    if steps is None or seconds is None:  # uniform sampling never reaches the target
        return [label, f"{takes:.2f}", tau(results, name), "-", "-", "-"]
    worth = "-" if steps.median == math.inf else f"{1 / steps.median:.2f}"
    return [label, f"{takes:.2f}", tau(results, name), worth, str(seconds), seconds.word]


def tau(results: dict[str, Any], name: str) -> str:
    """Its mean over the steps by importance at which runs were evaluated."""
    runs = runs_of(results, name)
    values = [v for run in runs for v in run["curve"].get("tau", ()) if v is not None]
    return f"{fmean(values):.2f}" if values else "-"


def seconds_per_step(results: dict[str, Any], name: str) -> float:
    curves = [run["curve"] for run in runs_of(results, name)]
    return fmean(curve["seconds"][-1] / curve["step"][-1] for curve in curves)
