"""Comparisons of all strategies: what each is made with, how it trains, and their one table."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from bench.__main__ import main
from bench.report import strategies_table
from bench.report.machine import describe
from bench.report.results import STAGES
from bench.tasks import TASKS
from bench.tasks.task import Budget
from bench.training import runner, time_split
from bench.training.pickers import SamplerPicker
from bench.training.run import EVALUATIONS, Training
from bench.training.runner import epochs_to_plan, run_all
from bench.training.strategies import STRATEGIES, find, known, make_for_dataset
from impsamp_fast import strategies
from tests.bench.tiny_bench import (
    COUNTED,
    STEPS,
    TINY,
    assert_continues_as_if_not_interrupted,
    comparison,
    quick,  # noqa: F401
    tiny_data,
)

ALL = strategies.names()
QUICK_TASK = replace(TINY, snapshots=())


def test_all_are_those_of_the_registry() -> None:
    assert [strategy.name for strategy in find(["all"])] == ALL
    assert [s.name for s in find(["kf18", "all", "gradient-norm-cdf-loop"])] == [
        "kf18",
        *(name for name in ALL if name != "kf18"),
        "gradient-norm-cdf-loop",
    ]
    assert set(known()) == {*ALL, "gradient-norm-cdf-unbiased", "gradient-norm-cdf-loop"}
    with pytest.raises(SystemExit, match=r'no strategy "top-l"; there are uniform, .*pruning'):
        find(["top-l"])


def test_all_can_be_told_apart_in_figures() -> None:
    looks = [(strategy.colour, strategy.line) for strategy in known().values()]
    assert len(set(looks)) == len(looks)


def test_one_table_has_all_strategies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", replace(QUICK_TASK, start="always"))
    main(["compare", "two-circles", "--strategies", "all", "--seeds", "1", "--out", str(tmp_path)])
    captured = capsys.readouterr()
    assert captured.out.startswith((tmp_path / "table.md").read_text())
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["strategy"] for row in results["overview"]["rows"]] == ALL
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
        )
        assert (parts["forward"] > 0) == scored, run["strategy"]
        assert (parts["select"] > 0) == (run["strategy"] != "uniform"), run["strategy"]
        assert run["loss_quantiles"] == sorted(run["loss_quantiles"])
        assert run["curve"]["step"][-1] == STEPS


def test_every_strategy_continues_as_if_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twelve steps are two whole epochs of the pool, and in the middle of one where samples are
    # left out.
    monkeypatch.setattr(time_split, "FEWEST", 1)
    assert_continues_as_if_not_interrupted(tmp_path, monkeypatch, COUNTED, ["all"])


def test_the_papers_strategies_are_what_the_factories_make(tmp_path: Path) -> None:
    """The settings that the committed results of Two Circles were measured with."""
    results = run_all(comparison(tmp_path), tiny_data(tmp_path))
    made = {name: strategy["made"] for name, strategy in results["strategies"].items()}
    settings = {
        name: (made[name]["score"], made[name]["method"], made[name]["correction"])
        for name in made
        if "score" in made[name]
    }
    assert settings == {
        "highest-loss": ("loss", "topk", "none"),
        "highest-loss-cdf": ("loss", "multinomial", "none"),
        "gradient-norm": ("grad_norm", "topk", "none"),
        "gradient-norm-cdf": ("grad_norm", "multinomial", "none"),
        "gradient-norm-cdf-unbiased": ("grad_norm", "multinomial", "unbiased"),
        "kf18": ("grad_norm", "multinomial", "unbiased"),
    }
    assert made["kf18"]["start"] == {
        "type": "VarianceReduction",
        "threshold": 1.5,
        "momentum": 0.9,
    }
    assert list(made) == list(STRATEGIES)
    assert results["settings"]["epochs"] is None
    assert results["settings"]["pool"] == 4096  # all, since nobody counts in epochs


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


@pytest.mark.parametrize(
    ("name", "epochs", "warm_up"),
    [
        ("recency-bias", 100, 15),  # the paper's
        ("recency-bias", 12, 2),
        ("recency-bias", 1, 1),
        ("active-bias", 200, 15),
        ("early-importance", 14, 2),
        ("online-batch", 100, 1),
    ],
)
def test_warm_ups_are_cut_to_a_share_of_the_epochs(name: str, epochs: int, warm_up: int) -> None:
    sampler = make_for_dataset(known()[name], 50, epochs, 3, seed=0)
    assert sampler.warm_up == warm_up
    assert getattr(sampler, "epochs", epochs) == epochs


def test_strategies_begin_by_the_rule_of_the_comparison_or_their_paper(tmp_path: Path) -> None:
    parts = replace(comparison(tmp_path, QUICK_TASK, ["all"]), start="ratio:0.3", pool=96)
    starts = {s.name: runner.description(parts, s)["start"] for s in parts.strategies}
    own = {
        "uniform": None,
        "random-subset": None,
        "kf18": "variance:1.5",
        "kf18-biased": "variance:1.5",
        "selective-backprop": "after:6",  # the raw batches of an epoch of 96 samples
    }
    for name in strategies.names("batch"):
        assert starts[name] == own.get(name, "ratio:0.3"), name
    for name in strategies.names("dataset"):
        assert starts[name] == ("epoch:0" if name == "bandit" else "epoch:1"), name


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


def test_a_time_budget_is_evaluated_at_common_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 0.03)  # read once more per step
    monkeypatch.setattr("bench.training.run.time.perf_counter", lambda: next(clock))
    data = tiny_data(Path())
    training = Training(QUICK_TASK, data, STRATEGIES["uniform"], seed=0, start="always")
    budget = Budget(seconds=8.0)
    while not budget.spent(training.steps, training.seconds):
        training.advance(budget)
    seconds = training.curve["seconds"]
    assert len(seconds) == EVALUATIONS
    for i, moment in enumerate(seconds, start=1):
        assert i * 0.5 <= moment < i * 0.5 + 0.03 + 1e-6


def test_samplers_train_on_the_weighted_mean_of_what_they_drew() -> None:
    data = tiny_data(Path()).first(64)
    training = Training(QUICK_TASK, data, known()["bandit"], seed=0, start="always", epochs=9)
    picker = training.picker
    assert isinstance(picker, SamplerPicker)
    for _ in range(10):  # two epochs and a half
        training.step()
    weights = []
    for _ in range(4):
        loss = picker.loss(training.stream)
        x, y = picker.picked
        (row,) = (training.data.x[:, None] == x[None]).all(2).T.nonzero()[:, 1:].T
        weight = picker.sampler.weight(row)
        losses = F.cross_entropy(training.model(x), y, reduction="none")
        assert loss.item() == pytest.approx((weight * losses).mean().item(), rel=1e-5)
        weights.append(weight)
        training.update(loss)
    assert torch.cat(weights).unique().numel() > 1
    assert picker.importance_steps == 14


@pytest.mark.parametrize("name", [*ALL, "gradient-norm-cdf-loop"])
def test_selection_is_what_is_neither_training_nor_scoring(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By a clock that only the model moves: 1 s per row in a forward pass, and 1 s per step."""
    now = [0.0]
    monkeypatch.setattr("bench.training.time_split.time.perf_counter", lambda: now[0])
    training = Training(QUICK_TASK, tiny_data(Path()).first(100), known()[name], 0, "always")
    training.step()

    def forward(_: Any, x: tuple[torch.Tensor], __: Any) -> None:
        now[0] += len(x[0])

    def update(loss: torch.Tensor) -> None:
        now[0] += 1

    next(training.model.children()).register_forward_hook(forward)
    monkeypatch.setattr(training, "update", update)
    parts = time_split.measure(training)
    loop = TINY.large * 1e6 if name == "gradient-norm-cdf-loop" else 0.0
    assert parts["selection"] == loop
    assert parts["step"] == pytest.approx(parts["forward"] + parts["train"] + loop)
    if name not in {"top-q", "hard-accuracy", "soft-accuracy"}:
        assert parts["train"] == (TINY.mini + 1) * 1e6


@pytest.mark.parametrize("name", ["gradient-norm-cdf", "top-q", "selective-backprop"])
def test_no_span_holds_work_of_the_measurement(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By a clock that moves when the model is made ready to be watched, or is set back."""
    now = [0.0]
    monkeypatch.setattr("bench.training.time_split.time.perf_counter", lambda: now[0])

    def takes_a_second(own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            now[0] += 1
            return own(*args, **kwargs)

        return call

    training = Training(QUICK_TASK, tiny_data(Path()).first(100), known()[name], 0, "always")
    for owner, method in (
        (nn.Module, "register_forward_pre_hook"),
        (nn.Module, "register_forward_hook"),
        (RemovableHandle, "remove"),
        (time_split.ForwardClock, "__enter__"),
        (time_split.ForwardClock, "__exit__"),
    ):
        monkeypatch.setattr(owner, method, takes_a_second(getattr(owner, method)))
    parts = time_split.measure(training)
    assert now[0] > 0
    assert not any(parts.values()), parts
    assert "forward" not in vars(training.model)


def made_up_results() -> dict[str, Any]:
    """Two strategies of two seeds, evaluated each second, the first with twice as many steps."""

    def run(strategy: str, seed: int, steps: int, accuracy: list[float]) -> dict[str, Any]:
        moments = range(1, len(accuracy) + 1)
        return {
            "strategy": strategy,
            "seed": seed,
            "split_us": {"selection": 100.0 + 250.0 * seed, "step": 1000.0 + 250.0 * seed},
            "loss_quantiles": [0.1, 0.2, 0.3, 0.4 + 2 * seed],
            "curve": {
                "step": [steps * moment for moment in moments],
                "seconds": [float(moment) for moment in moments],
                "accuracy": accuracy,
            },
        }

    return {
        "machine": describe(),
        "settings": {
            "task": "two-circles",
            "large_batch": 64,
            "mini_batch": 16,
            "pool": 12_345,
            "epochs": 7,
        },
        "seeds": [0, 1],
        "target": 0.75,
        "strategies": {"uniform": {"label": "uniform"}, "kf18": {"label": "KF18"}},
        "runs": [
            run("uniform", 0, 20, [0.3, 0.5, 0.7, 0.9, 0.9]),
            run("uniform", 1, 20, [0.3, 0.5, 0.7, 0.7, 0.7]),
            run("kf18", 0, 10, [0.6, 0.9, 0.9, 0.9]),
            run("kf18", 1, 10, [0.6, 0.9, 0.9, 0.6]),
        ],
    }


def test_the_table_agrees_with_numbers_worked_out_by_hand() -> None:
    results = made_up_results()
    results["overview"] = strategies_table.summarise(results)
    assert results["overview"]["moments"] == {"seconds": 4.0, "step": 40}
    uniform, other = results["overview"]["rows"]
    # Means of the last three evaluations: (0.7 + 0.9 + 0.9) / 3, and 0.7.
    assert uniform["accuracy"] == pytest.approx((2.5 / 3 + 0.7) / 2)
    assert uniform["accuracy_deviation"] == pytest.approx((2.5 / 3 - 0.7) / math.sqrt(2))
    assert uniform["at_equal_time"] == pytest.approx(((0.5 + 0.7 + 0.9) / 3 + 1.9 / 3) / 2)
    assert uniform["at_equal_steps"] == pytest.approx(0.5)  # step 40 is after two seconds
    assert (uniform["reached"], uniform["seconds_to_target"]) == (1, 5.0)
    assert other["accuracy"] == other["at_equal_time"] == pytest.approx((0.9 + 0.8) / 2)
    assert other["at_equal_steps"] == pytest.approx((0.9 + 0.6) / 2)
    assert (other["reached"], other["seconds_to_target"]) == (2, 3.0)
    assert other["selection_share"] == pytest.approx((0.1 + 0.28) / 2)
    assert other["loss_quantiles"] == pytest.approx([0.1, 0.2, 0.3, 1.4])

    text = strategies_table.markdown(results)
    lines = text.splitlines()
    assert lines[0] == (
        "two-circles, 12,345 training samples: mean of 2 seeds, K = 64, n = 16; "
        "target accuracy 75.00%."
    )
    headings, _, *rows = ([c.strip() for c in line.strip("|").split("|")] for line in lines[3:7])
    assert headings[2:5] == ["at 4 s", "at 40 steps", "time to 75.00%"]
    assert headings[-4:] == ["loss 0.5", "loss 0.9", "loss 0.99", "loss worst"]
    assert rows[0][4] == "5.00 s (1 of 2)"
    assert rows[1][5:9] == ["40", "1.12", "19.0%", "0.1"]
    assert "the largest is 19.0% (uniform)" in text
    assert "plan for 7 epochs" in text


def test_a_strategy_that_ends_too_soon_has_no_number_there() -> None:
    results = made_up_results()
    results["strategies"]["gradient-norm-cdf-loop"] = {"label": "loop"}
    loop = results["runs"][2] | {"strategy": "gradient-norm-cdf-loop"}
    loop["curve"] = {name: values[:1] for name, values in loop["curve"].items()}
    results["runs"].append(loop)
    results["overview"] = strategies_table.summarise(results)
    row = results["overview"]["rows"][-1]
    assert results["overview"]["moments"] == {"seconds": 4.0, "step": 40}  # of the others
    assert row["at_equal_time"] is row["at_equal_steps"] is None
    assert "| loop " in strategies_table.markdown(results)
