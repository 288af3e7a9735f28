"""From a finished comparison to the results that are committed and shown on the pages."""

from pathlib import Path
from typing import Any

import numpy as np

from bench.report import claims, figures, png, study_figures
from bench.report.files import RESULTS, read_json, write_json
from bench.report.results import target
from bench.training.strategies import beyond_the_paper

MOST_EVALUATIONS = 150  # of each run of which only the table is shown


def take_over(directory: Path) -> None:
    """Copy results to where they are committed, with the figures that are committed."""
    results = read_json(directory / "results.json")
    name = name_of(results)
    if name == "two-circles":
        figures.draw_overview(results, directory / "pictures.npz", RESULTS / "two-circles.png")
    else:
        shorten(results)
    write_json(RESULTS / f"{name}.json", results)
    draw_picked(results, directory / "pictures.npz", RESULTS / f"{name}-picked.png")
    if results["settings"].get("study"):
        png.shrink(study_figures.draw(results, RESULTS / f"{name}.png"))


def draw_picked(results: dict[str, Any], pictures: Path, path: Path) -> None:
    """The figure of what was picked, where that are pictures."""
    if not pictures.exists():
        return
    with np.load(pictures) as arrays:
        if any(f"{name}/images" in arrays for name in (*claims.TOP, *claims.CDF)):
            study_figures.draw_picked(results, dict(arrays), path)
            png.shrink(path)


def name_of(results: dict[str, Any]) -> str:
    """Of the committed file: the task, what is studied, and whether rates were tuned for it."""
    settings = results["settings"]
    if "task" not in settings:  # a study of several
        return f"{settings['study']}-subset" if settings["pool"] else str(settings["study"])
    name: str = settings["task"]
    if settings.get("compiled"):
        name += "-compiled"
    if study := settings.get("study"):
        return f"{name}-{study}"
    if settings.get("wrong_labels"):
        return f"{name}-wrong-labels"
    if beyond_the_paper(results["strategies"]):
        name += "-strategies"
    return f"{name}-tuned" if results.get("tuning") else name


def shorten(results: dict[str, Any]) -> None:
    """Thins the curves. What uniform sampling has at its end is that of fewer evaluations then."""
    is_its_own = "target" in results and results["target"] == target(results)
    results["runs"] = [run | {"curve": thinned(run["curve"])} for run in results["runs"]]
    if is_its_own:
        results["target"] = target(results)


def thinned(curve: dict[str, list[float]]) -> dict[str, list[float]]:
    """At most MOST_EVALUATIONS of a curve, evenly spaced, the last one among them."""
    stride = -(-len(curve["step"]) // MOST_EVALUATIONS)
    return {quantity: values[::-stride][::-1] for quantity, values in curve.items()}
