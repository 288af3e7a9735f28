"""`python -m bench`: a comparison from its options to its tables and figures, and wrong options."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.report.results import ROW_LOOP, STAGES
from bench.tasks import TASKS
from bench.training.strategies import USUAL, find
from impsamp_fast import strategies
from tests.bench.tiny_bench import QUICK_TASK, STEPS, TINY

ALL = strategies.names()


def test_compare_writes_tables_results_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    main(["compare", "two-circles", "--seeds", "2", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() in printed
    for strategy in find(list(USUAL)):
        assert f"| {strategy.label} " in printed
    for name in ("curves.png", "picks.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["machine"]) >= {"cpu", "cores", "threads", "torch", "impsamp_fast", "python"}
    assert results["settings"]["budget"] == {"steps": STEPS, "seconds": None}
    assert results["seeds"] == [0, 1]
    assert [(r["strategy"], r["seed"]) for r in results["runs"]] == [
        (name, seed) for seed in (0, 1) for name in USUAL
    ]
    for run in results["runs"]:
        curve = run["curve"]
        assert {len(values) for values in curve.values()} == {len(curve["step"])}
        assert np.all(np.diff(curve["step"]) > 0)
        assert np.all(np.diff(curve["seconds"]) > 0)
        assert all(0.0 <= value <= 1.0 for value in curve["accuracy"])
        loop = run["strategy"] == ROW_LOOP
        assert curve["step"][-1] == (1 if loop else STEPS)

    # The figures come from the files alone.
    (tmp_path / "curves.png").unlink()
    main(["figures", str(tmp_path)])
    assert (tmp_path / "curves.png").exists()


@pytest.mark.filterwarnings("error")
def test_one_evaluation_of_one_strategy_is_drawn_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    names = ["--strategies", "gradient-norm-cdf", "--seeds", "1", "--steps", "4"]
    main(["compare", "two-circles", *names, "--out", str(tmp_path)])
    assert (tmp_path / "curves.png").exists()


def test_wrong_labels_have_a_table_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    names = ["--strategies", "uniform", "rho-loss", "--seeds", "1", "--steps", "4"]
    main(["compare", "two-circles", *names, "--wrong-labels", "0.4", "--out", str(tmp_path)])
    assert "40% of their labels wrong" in (tmp_path / "table.md").read_text()


def test_one_table_has_all_strategies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", replace(QUICK_TASK, start="always"))
    main(["compare", "two-circles", "--strategies", "all", "--seeds", "1", "--out", str(tmp_path)])
    captured = capsys.readouterr()
    assert captured.out.startswith((tmp_path / "table.md").read_text())
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["strategies"]) == ALL
    assert results["settings"]["pool"] == TINY.epoch_pool
    assert results["settings"]["epochs"] == 4
    for name, strategy in results["strategies"].items():
        assert f"| {strategy['label']} " in captured.out
        assert strategy["level"] == strategies.get(name).level
    # No terminal is there for a bar: each run says that it is finished.
    assert captured.err.count(" after 24 steps in ") == len(ALL)
    assert f"{len(ALL)} of {len(ALL)} runs: random-pruning, seed 0: " in captured.err
    assert (tmp_path / "curves.png").exists()

    for run in results["runs"]:
        parts = run["split_us"]
        assert parts["step"] == pytest.approx(sum(parts[stage] for stage in STAGES), abs=0.1)
        scored = run["strategy"] in strategies.names("batch") and run["strategy"] not in (
            "uniform",
            "random-subset",
            "autoassist",
        )
        assert (parts["forward"] > 0) == scored, run["strategy"]
        assert (parts["select"] > 0) == (run["strategy"] != "uniform"), run["strategy"]
        assert run["loss_quantiles"] == sorted(run["loss_quantiles"])
        assert run["curve"]["step"][-1] == STEPS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategies", "uniform", "higest-loss"], 'no strategy "higest-loss"; there are unif'),
        (["--start", "ratio:often"], 'start is "ratio:often", expected "always"'),
        (["--start", "never"], 'start is "never"'),
    ],
)
def test_unknown_names_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["compare", "two-circles", *arguments])


def test_rates_and_a_compiled_model_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", QUICK_TASK)
    command = ["compare", "two-circles", "--strategies", "uniform", "kf18", "--seeds", "1"]
    main([*command, "--rate", "uniform=0.02", "--compile", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    rates = {name: s["learning_rate"] for name, s in results["strategies"].items()}
    assert rates == {"uniform": 0.02, "kf18": QUICK_TASK.learning_rate}
    assert results["settings"]["compiled"] is True
    printed = capsys.readouterr().out
    assert (
        "Learning rates: uniform 0.02; others 0.005. The model that is trained is comp" in printed
    )
    with pytest.raises(SystemExit):
        main([*command, "--rate", "uniforn=0.02"])
    assert 'no strategy "uniforn"' in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_a_target_is_a_share(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "two-circles", "--target", "98"])
    assert "98.0 is not from 0 to 1" in capsys.readouterr().err
