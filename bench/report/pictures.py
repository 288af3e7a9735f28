"""The figures of docs/pictures.md, drawn from the recorded runs of bench/results/pictures.npz."""

import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from bench.report import png
from bench.report.files import RESULTS, digest
from impsamp_fast import plot

RECORDED = RESULTS / "pictures.npz"

Arrays = dict[str, np.ndarray]


def draw(arrays: Arrays, directory: Path) -> list[Path]:
    """Writes all figures into a directory, by the name of the function that draws each."""
    paths = []
    for name, figure in figures(arrays).items():
        paths.append(directory / f"plot-{name.replace('_', '-')}.png")
        png.write(figure, paths[-1], digest(RECORDED))
    return paths


def figures(arrays: Arrays) -> dict[str, Figure]:
    counts, classes, shown = arrays["counts"], arrays["classes"], arrays["shown"]
    pictures = dict(zip(shown.tolist(), arrays["pictures"], strict=True))
    history = history_of(arrays)
    return {
        "pick_histogram": plot.pick_histogram(counts),
        "pick_grid": plot.pick_grid(counts, pictures, classes, k=len(shown) // 2),
        "class_balance": plot.class_balance(counts, classes),
        "scores_over_training": plot.scores_over_training(history),
        "score_cdf": plot.score_cdf(history),
        "tau_over_training": plot.tau_over_training(history),
        "classes_over_training": plot.classes_over_training(history),
        "pick_map": plot.pick_map(arrays["map"] / 255, (arrays["points"], arrays["labels"])),
    }


def packed(history: plot.History) -> Arrays:
    """A history as arrays: all but its times, which another run would not have again."""
    numbers = [
        {name: value for name, value in step.items() if not name.startswith("seconds/")}
        for step in history.numbers.values()
    ]
    return {
        "numbers": np.asarray(json.dumps(numbers)),
        "scored": np.asarray(list(history.quantiles)),
        "quantiles": torch.stack(list(history.quantiles.values())).numpy(),
    }


def history_of(arrays: Arrays) -> plot.History:
    history = plot.History()
    for numbers in json.loads(str(arrays["numbers"])):
        history.numbers[int(numbers["step"])] = numbers
    for step, quantiles in zip(arrays["scored"].tolist(), arrays["quantiles"], strict=True):
        history.quantiles[step] = torch.from_numpy(quantiles)
    return history
