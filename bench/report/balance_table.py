"""The table of the balance of classes: what is picked of each, and how right each is."""

from statistics import fmean, stdev
from typing import Any

import numpy as np

from bench.report.machine import measured_on
from bench.report.results import final_accuracy, number_of_seeds, runs_of, task_title
from bench.report.table import table

HEADINGS = [
    "strategy",
    "accuracy",
    "of the worst class",
    "distance, first epoch",
    "last epoch",
    "most by least picked",
    "time",
]
Shares = list[float]


def picked_shares(results: dict[str, Any], strategy: str) -> list[Shares]:
    """Each class's share of the picks, epoch by epoch, over all seeds."""
    picked = [run["curve"]["picked_classes"] for run in runs_of(results, strategy)]
    counts = np.sum(picked, axis=0)  # [epochs, classes]
    return (counts / counts.sum(1, keepdims=True)).tolist()


def distance(shares: Shares) -> float:
    """The total variation distance from equal shares: 0 is balanced."""
    return sum(abs(share - 1 / len(shares)) for share in shares) / 2


def class_accuracies(results: dict[str, Any], strategy: str) -> list[float]:
    """Of the last evaluation, the mean over the seeds."""
    last = [run["curve"]["class_accuracy"][-1] for run in runs_of(results, strategy)]
    return [fmean(of_class) for of_class in zip(*last, strict=True)]


def markdown(results: dict[str, Any]) -> str:
    """The table, what it says, and the machine."""
    settings = results["settings"]
    epochs = len(runs_of(results, next(iter(results["strategies"])))[0]["curve"]["step"])
    lines = [
        f"{task_title(results)}, {settings['pool']:,} training samples, {epochs} epochs of "
        f"{settings['evaluate_every']} steps: mean of {number_of_seeds(results)}. The distance is "
        "the total variation distance of the picks' class shares from equal ones; that of the data "
        f"is {distance(results['classes']['shares']):.2f}.",
        "",
        *table(HEADINGS, [cells(results, name) for name in results["strategies"]]),
        "",
        finding(results),
        f"Measured on {measured_on(results)}.",
    ]
    return "\n".join(lines) + "\n"


def cells(results: dict[str, Any], name: str) -> list[str]:
    runs, shares = runs_of(results, name), picked_shares(results, name)
    accuracies = [final_accuracy(run) for run in runs]
    deviation = f" ± {100 * stdev(accuracies):.2f}" if len(runs) > 1 else ""
    return [
        results["strategies"][name]["label"],
        f"{100 * fmean(accuracies):.2f}%{deviation}",
        f"{100 * min(class_accuracies(results, name)):.1f}%",
        f"{distance(shares[0]):.3f}",
        f"{distance(shares[-1]):.3f}",
        f"{max(shares[-1]) / min(shares[-1]):.1f}" if min(shares[-1]) else "never",
        f"{fmean(run['curve']['seconds'][-1] for run in runs):.1f} s",
    ]


def finding(results: dict[str, Any]) -> str:
    """How far each strategy's picks have gone towards balance by the last epoch."""
    before = distance(results["classes"]["shares"])
    after = {
        entry["label"]: distance(picked_shares(results, name)[-1])
        for name, entry in results["strategies"].items()
        if name != "uniform"
    }
    told = ", ".join(f"{label} {value:.2f}" for label, value in after.items())
    nearer = sum(value < before for value in after.values())
    return (
        f"From a distance of {before:.2f}, {nearer} of {len(after)} strategies come nearer to "
        f"balance by the last epoch: {told}."
    )
