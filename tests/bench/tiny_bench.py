"""A comparison of two seconds, and what it takes to interrupt one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.tasks import TASKS, two_circles
from bench.tasks.task import Budget, Data, Task
from bench.training import runner
from bench.training.run import Training
from bench.training.runner import Comparison, run_all
from bench.training.strategies import STRATEGIES, find

STEPS = 24


def tiny_data(_: Path) -> Data:
    return Data(*two_circles.sample(4096, seed=1), *two_circles.sample(512, seed=2))


TINY = replace(
    TASKS["two-circles"],
    load=tiny_data,
    budget=Budget(steps=STEPS),
    evaluate_every=4,
    epoch_pool=100,  # six batches, and four samples that are left out: 24 steps are 4 epochs
    snapshots=(8, STEPS),
    start="after:8",
    large=64,
    mini=16,
)
COUNTED = replace(TINY, count_picks=True, snapshots=())
QUICK_TASK = replace(TINY, snapshots=())


def comparison(out: Path, task: Task = TINY, names: list[str] | None = None) -> Comparison:
    strategies = find(names or list(STRATEGIES))
    return Comparison(task, strategies, 2, Budget(steps=STEPS), task.start, out)


def assert_continues_as_if_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Task, names: list[str]
) -> None:
    """The runs of each seed are stopped once, in the middle, and taken up from checkpoints."""
    data = tiny_data(tmp_path)
    whole = run_all(comparison(tmp_path / "whole", task, names), data)

    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", 0.0)
    advance = Training.advance

    def interrupted(self: Training, budget: Budget) -> None:
        # Once per seed: the states that are loaded afterwards have their steps behind them.
        if self.steps == 12 and not hasattr(self, "resumed"):
            raise KeyboardInterrupt
        advance(self, budget)

    load = Training.load_state_dict

    def resumed(self: Training, state: dict[str, Any]) -> None:
        load(self, state)
        self.resumed = True  # type: ignore[attr-defined]

    monkeypatch.setattr(Training, "advance", interrupted)
    monkeypatch.setattr(Training, "load_state_dict", resumed)
    parts = comparison(tmp_path / "parts", task, names)
    interruptions = 0
    while True:
        try:
            results = run_all(parts, data)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions == parts.seeds

    for before, after in zip(whole["runs"], results["runs"], strict=True):
        for quantity in ("step", "accuracy", "loss"):
            assert before["curve"][quantity] == after["curve"][quantity], before["strategy"]
        assert before["importance_steps"] == after["importance_steps"], before["strategy"]
        assert before["loss_quantiles"] == after["loss_quantiles"], before["strategy"]
        name = f"{before['strategy']}-{before['seed']}.npz"
        with (
            np.load(tmp_path / "whole" / "runs" / name) as expected,
            np.load(tmp_path / "parts" / "runs" / name) as found,
        ):
            assert set(expected) == set(found)
            for key in expected:
                np.testing.assert_array_equal(expected[key], found[key], err_msg=name)
