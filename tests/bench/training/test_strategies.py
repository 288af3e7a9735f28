"""Which strategies are compared, how they look, and what they are made with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import impsamp_fast
from bench.training import time_split
from bench.training.making import make_for_dataset, parse_start
from bench.training.run import Training
from bench.training.runner import run_all
from bench.training.strategies import FAST, STRATEGIES, STRONG, beyond_the_paper, find, known
from bench.training.stream import Stream
from impsamp_fast import ScoringPass, strategies
from tests.bench.tiny_bench import QUICK_TASK, comparison, tiny_data

ALL = strategies.names()


def test_all_are_those_of_the_registry() -> None:
    assert [strategy.name for strategy in find(["all"])] == ALL
    assert [s.name for s in find(["kf18", "all", "gradient-norm-cdf-loop"])] == [
        "kf18",
        *(name for name in ALL if name != "kf18"),
        "gradient-norm-cdf-loop",
    ]
    ours = {"gradient-norm-cdf-unbiased", "gradient-norm-cdf-loop", *FAST, *STRONG}
    assert set(known()) == {*ALL, *ours}
    with pytest.raises(SystemExit, match=r'no strategy "top-l"; there are uniform, .*pruning'):
        find(["top-l"])


def test_all_can_be_told_apart_in_figures() -> None:
    looks = [(strategy.colour, strategy.line) for strategy in known().values()]
    assert len(set(looks)) == len(looks)


def test_any_strategy_may_be_trained_by_a_recipe() -> None:
    names = ["baselines", "kf18-decayed", "break-even-compiled-decayed", "bandit-compiled"]
    found = find(names)
    assert [(s.name, s.label) for s in found[:5]] == [
        ("uniform", "uniform"),
        ("uniform-decayed", "uniform, decayed rate"),
        ("uniform-compiled", "uniform, compiled"),
        ("uniform-compiled-decayed", "uniform, compiled, decayed rate"),
        ("random-subset", "random subset"),
    ]
    recipes = [(s.base, s.recipe.compiled, s.recipe.decayed) for s in found[5:]]
    assert recipes == [("kf18", False, True), ("break-even", True, True), ("bandit", True, False)]
    assert found[5].start == "variance:1.5"  # all else stays
    looks = {(s.colour, s.line) for s in [*known().values(), *found]}
    assert len(looks) == len(known()) + 3
    assert not beyond_the_paper([s.name for s in found[:-1]])
    assert beyond_the_paper([found[-1].name])
    with pytest.raises(SystemExit, match='no strategy "kf18-decayed-compiled"'):
        find(["kf18-decayed-compiled"])


def test_strategies_say_how_they_weigh_and_when_they_start(tmp_path: Path) -> None:
    names = ["uniform", "gradient-norm-cdf", "gradient-norm-cdf-unbiased", "kf18"]
    strategies = run_all(comparison(tmp_path, names=names), tiny_data(tmp_path))["strategies"]
    assert {name: (s["correction"], s["start"]) for name, s in strategies.items()} == {
        "uniform": ("none", None),
        "gradient-norm-cdf": ("none", "after:8"),
        "gradient-norm-cdf-unbiased": ("unbiased", "after:8"),
        "kf18": ("unbiased", "variance:1.5"),
    }


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
    starts = {s.name: parts.description(s)["start"] for s in parts.strategies}
    own = {
        "uniform": None,
        "random-subset": None,
        "kf18": "variance:1.5",
        "kf18-biased": "variance:1.5",
        "constant-time": "its own",
        "constant-variance": "its own",
        "selective-backprop": "after:6",  # the raw batches of an epoch of 96 samples
    }
    assert parts.description(find(["constant-time"])[0])["correction"] == "unbiased"
    for name in strategies.names("batch"):
        assert starts[name] == own.get(name, "ratio:0.3"), name
    for name in strategies.names("dataset"):
        assert starts[name] == ("epoch:0" if name == "bandit" else "epoch:1"), name


def test_start_rules_are_parsed() -> None:
    assert isinstance(parse_start("always"), impsamp_fast.Always)
    assert isinstance(parse_start("variance"), impsamp_fast.VarianceReduction)
    assert parse_start("variance").threshold is None
    assert parse_start("variance:1.5").threshold == 1.5
    after, ratio = parse_start("after:7"), parse_start("ratio:0.42")
    assert isinstance(after, impsamp_fast.After)
    assert after.steps == 7
    assert isinstance(ratio, impsamp_fast.LossRatio)
    assert ratio.threshold == 0.42


def test_a_large_batch_may_give_several_mini_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    fetch = Stream.next

    def counted(self: Stream, count: int) -> Any:
        rows.append(count)
        return fetch(self, count)

    monkeypatch.setattr(Stream, "next", counted)
    name = "gradient-norm-cdf-unbiased-pool4"
    task = replace(QUICK_TASK, start="always")
    parts = replace(comparison(tmp_path, task, [name]), seeds=1)
    training = Training(task, tiny_data(tmp_path), parts.strategies[0], 0, "always")
    training.train_steps(4)
    assert rows == [task.large]
    assert training.picker.importance_steps == 4
    training.train_steps(8)
    assert rows == [task.large] * 2
    monkeypatch.setattr(time_split, "FEWEST", 4)  # of which one scores
    (run,) = run_all(parts, tiny_data(tmp_path))["runs"]
    assert run["split_us"]["forward"] > 0


def test_fast_ones_score_by_the_pass_of_their_task(tmp_path: Path) -> None:
    task = replace(QUICK_TASK, fast_scoring=ScoringPass(chunk=16))
    made = comparison(tmp_path, task, ["kf18", "gradient-norm-cdf-unbiased-fast", "break-even"])
    descriptions = [made.description(strategy) for strategy in made.strategies]
    assert [d["made"]["scoring"] and d["made"]["scoring"]["chunk"] for d in descriptions] == [
        None,
        16,
        16,
    ]
    assert [d["start"] for d in descriptions] == ["variance:1.5", "after:8", "break-even"]
