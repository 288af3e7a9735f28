"""The measured parts of README.md: tables and figure, made from the results in bench/results.

README.md marks each part with `<!-- bench: NAME -->` and `<!-- end of bench: NAME -->`; what stands
between is replaced. No number in it is typed by hand.
"""

import re
from pathlib import Path
from typing import Any

from bench import catalogue, figures, gpu, overview, ratios, report, variance
from bench.files import read_json, write_atomically, write_json
from bench.machine import one_line
from bench.strategies import beyond_the_paper

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
MOST_EVALUATIONS = 100  # of each run of MNIST, whose evaluations are many: only the table is shown


def main(comparison: Path | None) -> None:
    """Rewrite README.md; `comparison` is a finished `bench compare` to take over first."""
    if comparison is not None:
        take_over(comparison)
    path = ROOT / "README.md"
    text = path.read_text()
    for name, part in PARTS.items():
        text = replace_part(text, name, part())
    write_atomically(path, lambda partial: partial.write_text(text))
    print(path)


def take_over(directory: Path) -> None:
    """Copy a comparison's results to where they are committed; for Two Circles draw the figure."""
    results = read_json(directory / "results.json")
    name = results["settings"]["task"]
    if beyond_the_paper(results["strategies"]):
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


def replace_part(text: str, name: str, part: str) -> str:
    begin, end = f"<!-- bench: {name} -->", f"<!-- end of bench: {name} -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    replaced, count = pattern.subn(lambda match: match[1] + part + match[2], text)
    if count != 1:
        raise SystemExit(f"README.md has {count} parts {begin} ... {end}, expected 1")
    return replaced


def two_circles_part() -> str:
    return report.markdown(read_json(RESULTS / "two-circles.json"))


def mnist_part() -> str:
    """Nothing as long as no MNIST comparison has been taken over: its data have to be at hand."""
    path = RESULTS / "mnist.json"
    return report.markdown(read_json(path)) if path.exists() else ""


def mnist_strategies_part() -> str:
    """Likewise."""
    path = RESULTS / "mnist-strategies.json"
    return overview.markdown(read_json(path)) if path.exists() else ""


def operators_part() -> str:
    result = read_json(ratios.RESULT)
    return operators_table(result) + f"\nMeasured on {one_line(result['machine'])}.\n"


def variance_part() -> str:
    return variance.markdown(read_json(variance.RESULT))


PARTS = {
    "two-circles": two_circles_part,
    "mnist": mnist_part,
    "strategies": catalogue.part,
    "mnist-strategies": mnist_strategies_part,
    "operators": operators_part,
    "gpu": gpu.part_of_readme,
    "variance": variance_part,
}


def operators_table(result: dict[str, Any]) -> str:
    """One row per case and peer: ours, theirs, and how many times faster."""
    rows = []
    for case in result["cases"]:
        times = {name: value["median"] for name, value in case["microseconds"].items()}
        ours = times.pop(ratios.OURS)
        rows += [
            [case["name"], duration(ours), peer, duration(theirs), ratio(theirs / ours)]
            for peer, theirs in times.items()
        ]
    headings = ["what", "impsamp_fast", "beside", "takes", "ratio"]
    return "\n".join(report.table(headings, rows)) + "\n"


def duration(microseconds: float) -> str:
    if microseconds < 1e3:
        return f"{microseconds:.1f} µs"
    return f"{microseconds / 1e3:.1f} ms"


def ratio(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
