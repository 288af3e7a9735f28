"""The figures of bench/results, drawn from what is committed there alone.

Each has the digest of what it was drawn from in its file: a figure of an older result is found out.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench.report import curves_figure, figures, png, study_figures
from bench.report.files import RESULTS, digest, read_json

# Those of the first paper, whose curves a page shows.
EXPERIMENTS = ("two-circles", "mnist", "cifar10", "patch-camelyon")


def draw(name: str, folder: Path = RESULTS) -> list[Path]:
    """Draws the figures of a result; their paths."""
    paths = []
    for file, drawing in figures_of(name, folder).items():
        paths.append(folder / file)
        drawing(paths[-1])
        png.shrink(paths[-1], digest(*sources(name, folder)))
    return paths


def figures_of(name: str, folder: Path = RESULTS) -> dict[str, Callable[[Path], object]]:
    """By the name of its file, what draws each figure of a result."""
    results = read_json(folder / f"{name}.json")
    if "sweeps" in results:
        return {f"{name}.png": partial(curves_figure.draw, results)}
    if results.get("settings", {}).get("study"):
        return {f"{name}.png": partial(study_figures.draw, results)}
    if name not in EXPERIMENTS:
        return {}
    found = {f"{name}-curves.png": partial(figures.draw_curves, results)}
    kept = arrays_of(name, folder)
    if name == "two-circles":
        found[f"{name}.png"] = partial(figures.draw_overview, results, kept)
    if any(key.endswith("/images") for key in kept):
        found[f"{name}-picked.png"] = partial(study_figures.draw_picked, results, kept)
    return found


def arrays_of(name: str, folder: Path) -> dict[str, np.ndarray]:
    """What is kept of a comparison's pictures."""
    if not (path := folder / f"{name}.npz").exists():
        return {}
    with np.load(path) as arrays:
        return dict(arrays)


def sources(name: str, folder: Path = RESULTS) -> list[Path]:
    """A result, and the arrays beside it."""
    return [path for end in ("json", "npz") if (path := folder / f"{name}.{end}").exists()]
