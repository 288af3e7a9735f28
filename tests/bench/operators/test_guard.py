"""`python -m bench guard` on times that are made up."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.operators import ratios
from bench.operators.ratios import Case
from bench.report.operator_tables import OURS
from tests.bench import made_up

EAGER, BETTER = "plain torch", "torch.compile"
Times = dict[str, float]


def microseconds(times: Times) -> dict[str, Any]:
    return {"microseconds": {name: {"median": median} for name, median in times.items()}}


def guard(
    monkeypatch: pytest.MonkeyPatch, folder: Path, before: dict[str, Times], now: dict[str, Any]
) -> list[str]:
    """Runs it; the names of the cases as they were measured, each with the next of its times."""
    measured: list[str] = []
    nexts = {name: iter(times) for name, times in now.items()}

    def measure(case: Case) -> dict[str, Any]:
        measured.append(case.name)
        return microseconds(next(nexts[case.name]))

    monkeypatch.setattr(Case, "measure", measure)
    cases = [Case(name, "select", {}, lambda: ({}, {})) for name in now]
    monkeypatch.setattr(ratios, "cases", lambda: cases)
    committed = folder / "ratios.json"
    result = made_up.curves_result() | {
        "cases": [{"name": name, **microseconds(times)} for name, times in before.items()]
    }
    committed.write_text(json.dumps(result))
    main(["guard", "--result", str(committed), "--threads", "1"])
    return measured


def test_a_fifth_more_over_the_best_peer_is_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"a": {OURS: 1.0, EAGER: 10.0, BETTER: 4.0}}
    # The machine is half as fast, and 19% are lost.
    now = {"a": [{OURS: 2.38, EAGER: 20.0, BETTER: 8.0}], "new": []}
    assert guard(monkeypatch, tmp_path, before, now) == ["a"]
    printed = capsys.readouterr().out
    assert "0 of 1 cases are more than 20% worse." in printed
    (row,) = (line for line in printed.splitlines() if line.startswith("| a "))
    assert row.strip("|").replace("|", " ").split() == ["a", "0.25", "0.297", "+19%", "kept"]
    assert "Ratios of another machine may differ: a processor" in printed


def test_a_case_that_stays_worse_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: {OURS: 1.0, EAGER: 4.0} for name in ("slow", "disturbed")}
    slow, good = {OURS: 1.3, EAGER: 4.0}, {OURS: 1.1, EAGER: 4.0}
    now = {"slow": [{OURS: 2.0, EAGER: 4.0}, slow, slow], "disturbed": [slow, good]}
    with pytest.raises(SystemExit) as stopped:
        guard(monkeypatch, tmp_path, before, now)
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert "1 of 2 cases are more than 20% worse." in printed
    rows = {line.split()[1]: line for line in printed.splitlines() if line.startswith("| ")}
    assert "worse" in rows["slow"]
    assert "+30%" in rows["slow"]  # the best of three
    assert "worse" not in rows["disturbed"]


def test_only_peers_of_both_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = {"one": {OURS: 1.0, EAGER: 4.0, "Opacus": 1.0}, "none": {OURS: 1.0, "Opacus": 2.0}}
    now = {"one": [{OURS: 1.0, EAGER: 4.0}], "none": [{OURS: 9.0, EAGER: 1.0}]}
    assert guard(monkeypatch, tmp_path, before, now) == ["one", "none"]
