"""What every committed result says of where it comes from."""

import re
from typing import Any

import pytest

from bench.report import machine
from bench.report.files import RESULTS, read_json

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
