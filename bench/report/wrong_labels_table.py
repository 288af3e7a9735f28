"""The table of a comparison whose training labels are partly wrong: who learns these by heart."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from bench.report.machine import measured_on
from bench.report.paper_tables import made_with
from bench.report.results import (
    final_accuracy,
    highest_accuracy,
    number_of_seeds,
    runs_of,
    task_title,
)
from bench.report.table import table

HEADINGS = ["strategy", "start rule", "learning rate", "highest accuracy", "at the end", "lost"]


def markdown(results: dict[str, Any]) -> str:
    """The table, and what was trained on; the test set has the right labels."""
    settings = results["settings"]
    steps, seconds = (settings["budget"][unit] for unit in ("steps", "seconds"))
    budget = f"{seconds:g} s of training each" if steps is None else f"{steps} steps"
    lines = [
        f"{task_title(results)}, {settings['pool']:,} training samples, "
        f"{100 * settings['wrong_labels']:g}% of their labels wrong; accuracy on the test set, "
        f"whose labels are right: mean of {number_of_seeds(results)}, {budget}, "
        f"K = {settings['large_batch']}, n = {settings['mini_batch']}.",
        f"Trained on {measured_on(results)}.",
        *made_with(results),
        "",
        *table(HEADINGS, [cells(results, name) for name in results["strategies"]]),
        "",
        "Accuracies are means of three evaluations; the highest one is that of each run.",
    ]
    return "\n".join(lines) + "\n"


def cells(results: dict[str, Any], name: str) -> list[str]:
    strategy, runs = results["strategies"][name], runs_of(results, name)
    highest = [highest_accuracy(run) for run in runs]
    final = [final_accuracy(run) for run in runs]
    return [
        strategy["label"],
        strategy["start"] or "-",
        f"{strategy['learning_rate']:g}",
        percent(highest),
        percent(final),
        f"{100 * (fmean(highest) - fmean(final)):.1f}",
    ]


def percent(accuracies: Sequence[float]) -> str:
    text = f"{100 * fmean(accuracies):.1f}%"
    return text if len(accuracies) == 1 else f"{text} ± {100 * stdev(accuracies):.1f}"
