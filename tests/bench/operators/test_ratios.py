"""The operators beside their peers: times in turns, and the table of their ratios."""

import pytest

from bench.operators import ratios, timing
from bench.operators.peers import by_compiler
from bench.report import operator_tables


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "wait_until_quiet", lambda: None)
    monkeypatch.setattr(timing, "TURNS", 3)  # fewer have no quartiles within their range
    monkeypatch.setattr(timing, "TURN_SECONDS", 1e-5)
    monkeypatch.setattr(by_compiler, "compiled", lambda function, *_: function)


@pytest.mark.usefixtures("quickly")
def test_ratios_table_divides_medians() -> None:
    case = ratios.select_case(16, 3).measure()
    assert (case["K"], case["n"], case["C"]) == (16, 2, 3)
    assert set(case["microseconds"]) == {"impsamp_fast", "plain torch", "torch.compile"}
    for times in case["microseconds"].values():
        assert 0 < times["low"] <= times["median"] <= times["high"]

    case["microseconds"] = {"impsamp_fast": {"median": 4.0}, "plain torch": {"median": 5000.0}}
    row = operator_tables.ratios_table({"cases": [case]}).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["select, K=16, n=2, C=3", "4.0 µs", "plain torch", "5.0 ms", "1,250"]


@pytest.mark.usefixtures("quickly")
def test_every_small_case_has_ours_and_another() -> None:
    names = [case.name for case in ratios.cases()]
    assert len(set(names)) == len(names)
    for case in ratios.cases():
        if case.sizes["K"] * case.sizes.get("C", 1) < 10_000 and "Selector" not in case.name:
            candidates, _ = case.make()
            assert operator_tables.OURS in candidates
            assert len(candidates) >= 2


def test_ratios_are_not_measured_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(timing, "DISTURBED_SECONDS", 0.0)
    with pytest.raises(SystemExit, match="when the machine is idle"):
        timing.in_turns({"anything": lambda: None})


def test_peers_that_were_there_and_those_that_were_not() -> None:
    case = {
        "microseconds": {"impsamp_fast": {}, "Opacus": {}},
        "missing": {"Liger": "needs a CUDA device"},
    }
    result = {"versions": {"Opacus": "1.6.0", "Liger": None}, "cases": [case, case]}
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in operator_tables.peers_markdown(result).splitlines()[2:]
    ]
    assert rows == [["Opacus", "1.6.0", "2", "-"], ["Liger", "-", "0", "needs a CUDA device"]]
    assert operator_tables.peers_markdown({"cases": [case]}) == ""
