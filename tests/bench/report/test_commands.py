"""The commands beside the tables: they ask for what was measured."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.__main__ import parser
from bench.papers.thresholds import SEPARATOR
from bench.report import commands, smedas_table
from bench.report.files import RESULTS, read_json
from bench.training.arguments import comparison_of


def trainings() -> list[Path]:
    return [path for path in sorted(RESULTS.glob("*.json")) if commands.made_by(read_json(path))]


@pytest.fixture(params=trainings(), ids=lambda path: path.stem)
def results(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    found: dict[str, Any] = read_json(request.param)
    return found


def test_a_command_asks_for_what_was_measured(results: dict[str, Any]) -> None:
    block = commands.made_by(results)
    assert all(len(line) <= commands.WIDTH + 6 for line in block.splitlines())
    code = block.strip().removeprefix("```bash\n").removesuffix("\n```")
    lines = code.replace("\\\n", "").splitlines()
    *tuning, made = [parser().parse_args(shlex.split(line)[3:]) for line in lines]
    assert made.seeds == len(results["seeds"])
    settings, study = results["settings"], results["settings"].get("study")
    if study == "smedas":
        kinds = smedas_table.kinds(results)
        assert [*kinds] == [
            (d, n, b) for d in made.data for n in made.networks for b in made.batches
        ]
        assert {tuple(runs) for runs in kinds.values()} == {tuple(made.ways)}
        assert (made.epochs, made.pool) == (settings["epochs"], settings["pool"])
        return
    comparison = comparison_of(made)
    assert_same(comparison, settings, study)
    names = [strategy.name for strategy in comparison.strategies]
    if study == "thresholds":
        own = [f"{name}{SEPARATOR}{value:g}" for name in names for value in made.thresholds]
        assert ["uniform", *own] == [*results["strategies"]]
        return
    assert names == [*results["strategies"]]
    if study == "balance":
        assert made.epochs * settings["evaluate_every"] == settings["budget"]["steps"]
        assert made.rare == settings["rare_classes"]
        return
    tuned = results.get("tuning") or {"rates": {}}
    rates = dict.fromkeys(names, comparison.task.learning_rate) | tuned["rates"] | dict(made.rate)
    for name, strategy in results["strategies"].items():
        assert rates[name] == strategy.get("learning_rate", settings["learning_rate"])
    if tuning:
        (tune,) = tuning
        assert_same(comparison_of(tune), tuned["settings"], None)
        assert tune.absolute
        assert (tune.grid, tune.target) == (tuned["grid"], tuned["target"])
        assert tune.seeds == len(tuned["seeds"])
        assert made.rates == tune.out / "rates.json"


def assert_same(comparison: Any, settings: dict[str, Any], study: str | None) -> None:
    asked = comparison.settings()
    for name in ("task", "start", "compiled", "large_batch", "mini_batch", "wrong_labels"):
        assert asked[name] == settings.get(name, asked[name])
    if comparison.pool is not None:
        assert comparison.pool == settings["pool"]
    if study != "balance":
        assert asked["budget"] == settings["budget"]


def test_other_results_have_commands_of_their_own() -> None:
    assert commands.made_by({"cases": []}) == ""
