"""What every committed result says of where it comes from, and its figures of which it is."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.report import committed, machine, pictures, png
from bench.report.files import RESULTS, digest, read_json

FILES = [path.name for path in sorted(RESULTS.glob("*.json")) if path.name != "devices.json"]


@pytest.fixture(params=FILES)
def result(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = read_json(RESULTS / request.param)
    return found


def test_machine_versions_and_commit_are_told(result: dict[str, Any]) -> None:
    known = {"cpu", "cores", "threads", "instruction_set", "system", "python", "torch"}
    assert set(result["machine"]) >= known | {"impsamp_fast"}
    assert "/" not in result["machine"]["cpu"]
    commits = result.get("commits", [result.get("commit")])
    assert all(c is None or re.fullmatch("[0-9a-f]{40}(-dirty)?", c) for c in commits)
    # Those that are older say so.
    assert machine.commits_of(result).startswith("commit")


def test_seeds_and_curves_are_those_of_the_runs(result: dict[str, Any]) -> None:
    runs = result.get("runs", [])
    made = [(run["strategy"], run["seed"]) for run in runs]
    assert len(set(made)) == len(made)
    assert {seed for _, seed in made} == set(result.get("seeds", []))
    for run in runs:
        curve = run["curve"]
        assert {"step", "seconds", "accuracy", "loss"} <= set(curve)
        assert {len(values) for values in curve.values()} == {len(curve["step"])}
    if tuning := result.get("tuning"):
        assert not {*tuning["seeds"]} & {*result["seeds"]}


def test_no_path_is_in_a_result(result: dict[str, Any]) -> None:
    assert not re.search(r'"[^"]*(/home|/root|/tmp|/work|[A-Z]:\\)', str(result).replace("'", '"'))


def test_figures_are_drawn_of_what_is_committed() -> None:
    expected = {
        file: digest(*committed.sources(path.stem))
        for path in RESULTS.glob("*.json")
        for file in committed.figures_of(path.stem)
    }
    expected |= {path.name: digest(pictures.RECORDED) for path in RESULTS.glob("plot-*.png")}
    found = {path.name: stamp_of(path) for path in RESULTS.glob("*.png")}
    assert found.pop("report.png") is None  # of the page, which has all of them
    assert found == expected


def test_a_figure_of_a_result_is_drawn_again(tmp_path: Path) -> None:
    for source in committed.sources("two-circles"):
        shutil.copy(source, tmp_path)
    drawn = committed.draw("two-circles", tmp_path)
    assert [path.name for path in drawn] == ["two-circles-curves.png", "two-circles.png"]
    for path in drawn:
        assert stamp_of(path) == stamp_of(RESULTS / path.name)
        with Image.open(path) as picture, Image.open(RESULTS / path.name) as before:
            assert picture.size == before.size


def stamp_of(path: Path) -> str | None:
    with Image.open(path) as picture:
        return picture.info.get(png.STAMP)
