"""From a finished comparison to the results that are committed and shown in README.md."""

from pathlib import Path

from bench.report import figures
from bench.report.files import RESULTS, read_json, write_json
from bench.training.strategies import beyond_the_paper

MOST_EVALUATIONS = 100  # of each run of which only the table is shown


def take_over(directory: Path) -> None:
    """Copy a comparison's results to where they are committed; for Two Circles draw the figure."""
    results = read_json(directory / "results.json")
    name = results["settings"]["task"]
    if results["settings"].get("compiled"):
        name += "-compiled"
    if results["settings"].get("wrong_labels"):
        name += "-wrong-labels"
    elif beyond_the_paper(results["strategies"]):
        name += "-strategies"
    if name == "two-circles":
        figures.draw_overview(results, directory / "pictures.npz", RESULTS / "two-circles.png")
    else:
        results["runs"] = [run | {"curve": thinned(run["curve"])} for run in results["runs"]]
    write_json(RESULTS / f"{name}.json", results)


def thinned(curve: dict[str, list[float]]) -> dict[str, list[float]]:
    """At most MOST_EVALUATIONS of a curve, evenly spaced, the last one among them."""
    stride = -(-len(curve["step"]) // MOST_EVALUATIONS)
    return {quantity: values[::-stride][::-1] for quantity, values in curve.items()}
