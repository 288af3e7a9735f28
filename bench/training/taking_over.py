"""From a finished comparison to the results that are committed and shown on the pages."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import committed
from bench.report.figures import MAPPED, MOMENT
from bench.report.files import RESULTS, read_json, write_atomically, write_json
from bench.report.results import is_long, target
from bench.report.study_figures import PICKED, SHOWN
from bench.training.strategies import beyond_the_paper

MOST_EVALUATIONS = 150  # of each run of which only the table is shown


def take_over(directory: Path) -> None:
    """Copy results to where they are committed, with the figures that are committed."""
    results = read_json(directory / "results.json")
    name = name_of(results)
    if name != "two-circles":
        shorten(results)
    write_json(RESULTS / f"{name}.json", results)
    if name in committed.EXPERIMENTS:
        with np.load(directory / "pictures.npz") as arrays:
            kept = shown_of(dict(arrays))
        beside = RESULTS / f"{name}.npz"
        beside.unlink(missing_ok=True)
        if kept:
            write_atomically(beside, partial(np.savez_compressed, **kept))
    committed.draw(name, RESULTS)


def shown_of(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the committed figures show of a comparison's pictures."""
    maps = product(MAPPED, ("map", "points", "labels"))
    wanted = [f"{strategy}/{kind}/{MOMENT}" for strategy, kind in maps]
    found = {name: arrays[name] for name in wanted if name in arrays}
    for strategy in PICKED:
        if f"{strategy}/images" in arrays:
            counts = arrays[f"{strategy}/counts"]
            found[f"{strategy}/counts"] = counts.astype(np.min_scalar_type(counts.max()))
            for kind in ("chosen", "images", "classes"):
                most, least = np.split(arrays[f"{strategy}/{kind}"], 2)
                found[f"{strategy}/{kind}"] = np.concatenate([most[:SHOWN], least[:SHOWN]])
    return found


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
        name += "-wrong-labels"
    elif beyond_the_paper(results["strategies"]):
        name += "-strategies"
    if is_long(settings):
        name += "-long"
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
