"""Runs of a comparison: made once, taken up where they were interrupted, put together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.report import machine
from bench.tasks import TASKS
from bench.tasks.task import Budget, Data, Task
from bench.training import runner, time_split
from bench.training.runner import epochs_to_plan, run_all
from impsamp_fast import strategies
from tests.bench.tiny_bench import (
    COUNTED,
    QUICK_TASK,
    STEPS,
    TINY,
    assert_continues_as_if_not_interrupted,
    comparison,
    tiny_data,
)


def test_start_rules_decide_which_steps_sample_by_importance(tmp_path: Path) -> None:
    runs = run_all(comparison(tmp_path), tiny_data(tmp_path))["runs"]
    steps = {run["strategy"]: run["importance_steps"] for run in runs}
    assert steps["uniform"] == 0
    assert steps["gradient-norm-cdf"] == steps["highest-loss"] == STEPS - 8
    assert steps["gradient-norm-cdf-unbiased"] == STEPS - 8
    assert steps["gradient-norm-cdf-loop"] == 1
    assert steps["kf18"] == 0  # tau begins at 0 and cannot reach the break-even so soon


def test_finished_runs_are_reused_only_with_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["uniform", "gradient-norm-cdf"]
    data = tiny_data(tmp_path)
    first = run_all(comparison(tmp_path, names=names), data)
    told = capsys.readouterr()
    assert "taken from" not in told.out
    assert all(f"{count} of 4 runs: " in told.err for count in range(1, 5))
    (tmp_path / "runs" / "uniform-1.json").unlink()

    trained = []
    begin = runner.Run.__init__

    def spy(self: runner.Run, *args: Any) -> None:
        trained.append((args[2].name, args[3]))
        begin(self, *args)

    monkeypatch.setattr(runner.Run, "__init__", spy)
    second = run_all(comparison(tmp_path, names=names), data)
    assert trained == [("uniform", 1)]
    told = capsys.readouterr()
    assert f"3 of 4 runs taken from {tmp_path / 'runs'}\n" in told.out
    assert "4 of 4 runs: uniform, seed 1: " in told.err
    kept = [run for run in first["runs"] if (run["strategy"], run["seed"]) != ("uniform", 1)]
    assert all(run in second["runs"] for run in kept)

    other = replace(comparison(tmp_path, names=names), start="always")
    run_all(other, data)
    assert len(trained) == 1 + 4

    monkeypatch.setattr(machine, "extension_hash", lambda: "of another build")
    run_all(other, data)
    assert len(trained) == 1 + 4 + 4


def test_another_recipe_makes_another_run(tmp_path: Path) -> None:
    parts = comparison(tmp_path, names=["baselines"])
    keys = [parts.key(strategy, 0) for strategy in parts.strategies]
    assert all(keys.count(key) == 1 for key in keys)


def test_other_settings_of_a_strategy_make_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = comparison(tmp_path, QUICK_TASK, ["loss-split", "bandit"])
    run_all(parts, tiny_data(tmp_path))
    run_all(parts, tiny_data(tmp_path))
    assert "4 of 4 runs taken from" in capsys.readouterr().out
    monkeypatch.setattr(strategies.get("loss-split").make, "__kwdefaults__", {"q": 4, "p": 2.0})
    run_all(parts, tiny_data(tmp_path))
    assert "2 of 4 runs taken from" in capsys.readouterr().out


def dropping() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Dropout(), torch.nn.Linear(8, 2))


@pytest.mark.parametrize(
    "task",
    [TINY, COUNTED, replace(QUICK_TASK, network=dropping)],
    ids=["snapshots", "counts", "dropout"],
)
def test_an_interrupted_run_continues_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    names = ["uniform", "highest-loss", "gradient-norm-cdf", "kf18-decayed"]
    assert_continues_as_if_not_interrupted(tmp_path, monkeypatch, task, names)


def test_every_strategy_continues_as_if_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twelve steps are two whole epochs of the pool, and in the middle of one where samples are
    # left out.
    monkeypatch.setattr(time_split, "FEWEST", 1)
    assert_continues_as_if_not_interrupted(tmp_path, monkeypatch, COUNTED, strategies.names())


def test_epochs_of_a_step_budget_are_counted(tmp_path: Path) -> None:
    parts = comparison(tmp_path, QUICK_TASK, ["infobatch"])
    data = tiny_data(tmp_path).first(160)
    assert epochs_to_plan(parts, data) == 3  # 24 steps of 16 samples are 2.4
    assert epochs_to_plan(replace(parts, budget=Budget(steps=1)), data) == 1


def test_epochs_of_a_time_budget_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = replace(comparison(tmp_path, QUICK_TASK, ["infobatch"]), budget=Budget(seconds=6.0))
    data = tiny_data(tmp_path).first(160)
    # The clock is read at the begin and at the end: 200 steps in 10 s, 120 in the budget.
    clock = iter([0.0, 10.0, 0.0, 5.0])
    monkeypatch.setattr("bench.training.runner.time.perf_counter", lambda: next(clock))
    assert epochs_to_plan(parts, data) == 12
    assert epochs_to_plan(parts, data) == 12  # from the file: the clock is not read
    assert epochs_to_plan(replace(parts, budget=Budget(seconds=12.0)), data) == 48


def test_a_run_that_prepared_for_longer_than_it_may_train_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.training.run.prepare", lambda *_: ({}, 100.0))
    parts = replace(comparison(tmp_path, QUICK_TASK, ["uniform"]), budget=Budget(seconds=0.01))
    for run in run_all(parts, tiny_data(tmp_path))["runs"]:
        assert len(run["curve"]["accuracy"]) == 1
        assert run["curve"]["seconds"][0] >= 100


def test_counts_add_up_over_seeds(tmp_path: Path) -> None:
    mnist = TASKS["mnist"]
    task = replace(
        COUNTED, load=lambda _: digits(), network=mnist.network, to_pixels=mnist.to_pixels
    )
    parts = replace(comparison(tmp_path, task, ["highest-loss-cdf"]), start="always")
    run_all(parts, task.load(tmp_path))
    with np.load(tmp_path / "pictures.npz") as pictures:
        counts = pictures["highest-loss-cdf/counts"]
        chosen = pictures["highest-loss-cdf/chosen"]
        classes = pictures["highest-loss-cdf/classes"]
    assert counts.sum() == 2 * STEPS * task.mini
    most, least = counts[chosen[:40]], counts[chosen[40:]]
    np.testing.assert_array_equal(most, np.sort(counts)[::-1][:40])
    np.testing.assert_array_equal(least, np.sort(counts)[:40])
    assert classes.tolist() == [str(label) for label in digits().y[chosen].tolist()]


def digits() -> Data:
    """200 pictures of noise with arbitrary classes, in the shape of MNIST."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 1, 28, 28, generator=generator)
    y = torch.randint(10, (200,), generator=generator)
    return Data(x, y, x[:32], y[:32])
