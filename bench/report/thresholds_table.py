"""The table of the threshold study: strategies by when they begin."""

import math
from statistics import fmean, median, stdev
from typing import Any

from bench.report.machine import measured_on
from bench.report.results import (
    final_accuracy,
    number_of_seeds,
    runs_of,
    share_of_uniform,
    task_title,
)
from bench.report.table import table

SEPARATOR = "@"  # in the name of a strategy, before its threshold


def studied(results: dict[str, Any]) -> dict[str, list[float]]:
    """The thresholds of each strategy, the earliest first."""
    found: dict[str, list[float]] = {}
    for name in results["strategies"]:
        strategy, _, threshold = name.partition(SEPARATOR)
        if threshold:
            found.setdefault(strategy, []).append(float(threshold))
    return found


def name_of(strategy: str, threshold: float) -> str:
    return f"{strategy}{SEPARATOR}{threshold:g}"


def label_of(results: dict[str, Any], strategy: str) -> str:
    first = studied(results)[strategy][0]
    label: str = results["strategies"][name_of(strategy, first)]["label"]
    return label.removesuffix(f", {first:g}")


def markdown(results: dict[str, Any]) -> str:
    """Accuracies at the end, times to uniform sampling's, what they say, and the machine."""
    thresholds = next(iter(studied(results).values()))
    headings = [f"{threshold:g}" for threshold in thresholds]
    uniform = accuracy(results, "uniform")
    rows, shares = [], []
    for strategy, own in studied(results).items():
        names = [name_of(strategy, threshold) for threshold in own]
        label = label_of(results, strategy)
        rows.append([label, *(accuracy(results, name) for name in names)])
        shares.append([label, *(share_of(results, name) for name in names)])
    lines = [
        f"{task_title(results)}: mean of {number_of_seeds(results)}. Importance sampling begins "
        "once the loss of a mini-batch is below the threshold times the first one. Accuracy at the "
        f"end, where uniform sampling has {uniform}:",
        "",
        *table(["threshold", *headings], rows),
        "",
        "Time to the accuracy that uniform sampling has at its end, over its own time to it (the "
        "median over the seeds and its interval):",
        "",
        *table(["threshold", *headings], shares),
        "",
        finding(results),
        f"Measured on {measured_on(results)}.",
    ]
    return "\n".join(lines) + "\n"


def accuracy(results: dict[str, Any], name: str) -> str:
    final = [final_accuracy(run) for run in runs_of(results, name)]
    text = f"{100 * fmean(final):.2f}%"
    return text if len(final) == 1 else f"{text} ± {100 * stdev(final):.2f}"


def share_of(results: dict[str, Any], name: str) -> str:
    found = share_of_uniform(results, name, results["target"])
    return "-" if found is None else str(found)


def finding(results: dict[str, Any]) -> str:
    """How many of them beat uniform sampling in the end, and which threshold does so last."""
    uniform = fmean(final_accuracy(run) for run in runs_of(results, "uniform"))
    names = [name_of(s, t) for s, thresholds in studied(results).items() for t in thresholds]
    above = sum(
        fmean(final_accuracy(run) for run in runs_of(results, name)) > uniform for name in names
    )
    found = times(results)
    first, last = min(found, key=found.__getitem__), latest(found)
    text = f"{above} of {len(names)} end above uniform sampling."
    if found[first] == math.inf:
        return text
    slowest = "not at all" if found[last[0]] == math.inf else f"after {found[last[0]]:.2f}"
    return (
        f"{text} By the median over the strategies, its final accuracy is reached the soonest with "
        f"the threshold {first:g}, after {found[first]:.2f} of its own time, and the latest with "
        f"{listed(last)}, {slowest}."
    )


def latest(times: dict[float, float]) -> list[float]:
    """The thresholds with the longest time, of which there may be several."""
    return [threshold for threshold, time in times.items() if time == max(times.values())]


def listed(thresholds: list[float]) -> str:
    return ", ".join(f"{threshold:g}" for threshold in thresholds)


def times(results: dict[str, Any]) -> dict[float, float]:
    """By threshold the time to uniform sampling's final accuracy over its own.

    It is the median over the strategies; where uniform sampling never has its mean accuracy for a
    whole window, or a strategy does not reach it, it is infinite.
    """
    found: dict[float, list[float]] = {}
    for strategy, thresholds in studied(results).items():
        for threshold in thresholds:
            share = share_of_uniform(results, name_of(strategy, threshold), results["target"])
            found.setdefault(threshold, []).append(math.inf if share is None else share.median)
    return {threshold: median(shares) for threshold, shares in found.items()}
