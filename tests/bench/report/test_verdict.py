"""Verdicts over comparisons, from results made up."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.report import verdict
from bench.report.results import DEFAULT, ROW_LOOP, is_long, runs_of
from bench.training import taking_over

SEEDS = range(5)


def comparison(times: dict[str, list[float]], **settings: Any) -> dict[str, Any]:
    """Runs that reach 0.5 after so many seconds, and after ten steps a second."""

    def run(name: str, seed: int, seconds: float) -> dict[str, Any]:
        moments = [0.0, seconds / 2, seconds, 2 * seconds]
        curve = {
            "step": [10 * moment for moment in moments],
            "seconds": moments,
            "accuracy": [0.2, 0.4, 1.0, 0.4],
        }
        return {"strategy": name, "seed": seed, "importance_steps": 9, "curve": curve}

    return {
        "settings": {"task": "two-circles", "pool": 1000, "mini_batch": 100, **settings},
        "seeds": list(SEEDS),
        "target": 0.5,
        "strategies": {name: {"label": name.upper(), "start": "always"} for name in times},
        "runs": [run(n, seed, times[n][seed]) for n in times for seed in SEEDS],
    }


def made_up(**settings: Any) -> dict[str, Any]:
    times = {
        "uniform": [4.0] * 5,
        "uniform-compiled": [2.0, 2.0, 2.0, 2.0, 5.0],
        "random-subset": [8.0] * 5,
        "slow": [12.0] * 5,
        "fast": [1.0, 1.0, 1.0, 1.0, 3.0],
        DEFAULT: [3.0, 3.0, 3.0, 5.0, 5.0],
        ROW_LOOP: [400.0] * 5,
    }
    return comparison(times, **settings)


def cells_of(lines: list[str]) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set(row[0]) != {"-"}]


def test_choices_are_ranked_and_judged_against_the_strongest_baseline() -> None:
    judged = verdict.judge(made_up())
    assert judged.strongest.name == "uniform-compiled"
    assert [row.name for row in judged.baselines] == [
        "uniform-compiled",
        "uniform",
        "random-subset",
    ]
    assert [row.name for row in judged.choices] == ["fast", DEFAULT, "slow"]
    best, unsure, slow = judged.choices
    words = [(str(row.time), row.time.verdict) for row in judged.choices if row.time]
    assert words == [
        ("0.25 (0.25 to 0.75)", "better"),
        ("0.75 (0.75 to 1.25)", "no difference"),
        ("3.00 (3.00 to 3.00)", "worse"),
    ]
    assert str(best.time_over_strongest) == "0.50 (0.50 to 0.60)"
    assert str(unsure.time_over_strongest) == "1.50 (1.00 to 2.50)"
    assert str(slow.steps) == "3.00 (3.00 to 3.00)"
    assert judged.default == unsure
    assert judged.epochs == 8.0  # 80 steps of 100 rows


def test_the_tables_name_the_best_the_weakest_and_the_baseline() -> None:
    one = comparison({"uniform": [4.0] * 5, "slow": [12.0] * 5}, compiled=True)
    lines = verdict.short([made_up(), one]).splitlines()
    assert lines[0] == (
        "4 comparisons with uniform sampling in 2 trainings of two-circles, by what they take to "
        "an accuracy and have at the end. Trainings with no other baseline: 1."
    )
    assert cells_of(lines[2:9]) == [
        ["by", "better", "no difference", "worse"],
        ["time, over uniform sampling's", "1", "1", "2"],
        ["time, the default `Selector(model, n)`", "0", "1", "0"],
        ["time, over the strongest baseline's", "1", "1", "2"],
        ["steps, over uniform sampling's", "1", "1", "2"],
        ["accuracy at the end, over the most accurate baseline's", "0", "4", "0"],
    ]
    _, *rows = cells_of(lines[10:])
    title = "two-circles, 1,000 samples"
    assert [row[:3] for row in rows] == [
        [title, "default", DEFAULT.upper()],
        [title, "best", "FAST"],
        [title, "weakest", "SLOW"],
        [f"{title}, compiled for all", "best, weakest", "SLOW"],
    ]
    assert rows[0][3:] == [
        "0.75 (0.75 to 1.25)",
        "no difference (5 seeds)",
        "UNIFORM-COMPILED",
        "1.50 (1.00 to 2.50)",
        "no difference (5 seeds)",
    ]
    assert rows[3][5] == "no other measured"

    one["tuning"] = {"rates": {}}
    text = verdict.markdown([made_up(), one])
    better = f"- **{title}** (UNIFORM-COMPILED): FAST"
    assert f"Better by time than the strongest baseline:\n\n{better}\n\nWorse:\n" in text
    other = f"{title}, compiled for all, tuned rates"
    assert (
        f"- **{title}** (UNIFORM-COMPILED): SLOW\n- **{other}** (no other measured): SLOW\n" in text
    )
    assert "; the strongest of 3 baselines is UNIFORM-COMPILED.\n" in text
    assert "target 50.00%; no other baseline was measured.\n" in text
    assert "| *RANDOM-SUBSET* " in text
    assert ROW_LOOP.upper() not in text


def test_the_grid_has_every_strategy_in_every_training() -> None:
    other = comparison({"uniform": [4.0] * 5, "late": [12.0] * 5, "slow": [4.0] * 5}, pool=50)
    for run in runs_of(other, "late"):
        run |= {"importance_steps": 0, "curve": run["curve"] | {"accuracy": [0.1] * 4}}
    assert cells_of(verdict.grid([made_up(), other]).splitlines()) == [
        ["time / steps over uniform's", "two-circles, 1,000 samples", "two-circles, 50 samples"],
        ["SLOW", "*3.00* / *3.00*", "1.00 / 1.00"],
        ["FAST", "**0.25** / **0.25**", ""],
        [DEFAULT.upper(), "0.75 / 0.75", ""],
        ["LATE", "", "*never* / *never* (never began)"],
    ]


def test_the_most_accurate_baseline_need_not_be_the_soonest() -> None:
    results = made_up()
    for name, end in {"random-subset": 0.95, "fast": 0.8, "slow": 1.0}.items():
        for run in verdict.runs_of(results, name):
            run["curve"]["accuracy"] = [0.2, end, end, end]
    judged = verdict.judge(results)
    assert (judged.strongest.name, judged.most_accurate.name) == (
        "uniform-compiled",
        "random-subset",
    )
    fast, slow = (row.points for row in judged.choices if row.name in ("fast", "slow"))
    assert fast and slow
    assert (str(fast), fast.verdict) == ("-15.00 (-15.00 to -15.00)", "worse")
    assert (str(slow), slow.word) == ("+5.00 (+5.00 to +5.00)", "better (5 seeds)")
    assert "points at the end, over RANDOM-SUBSET" in verdict.markdown([results])


def test_with_wrong_labels_the_target_is_the_best_that_uniform_sampling_has() -> None:
    assert verdict.goal_of(made_up()) == 0.5
    results = made_up(wrong_labels=0.4)
    for run in results["runs"]:
        run["curve"]["accuracy"] = [0.5, 0.6, 0.7 + 0.1 * run["seed"], 0.1]
    # The means of three evaluations: with seed 0 the first ones are the best.
    assert verdict.goal_of(results) == pytest.approx(0.6)
    assert verdict.judge(results).title == "two-circles, 1,000 samples, 40% of their labels wrong"


def test_long_trainings_are_trainings_of_their_own() -> None:
    short, long = (made_up(budget={"steps": s, "seconds": None}) for s in (8_999, 9_000))
    tuned = short | {"tuning": {"rates": {"uniform": 0.1}}}
    assert verdict.latest([short, long, tuned]) == [long, tuned]
    assert verdict.title_of(long) == f"{verdict.title_of(short)}, long runs"
    assert (
        taking_over.name_of(long | {"strategies": [], "tuning": {"rates": {}}})
        == "two-circles-long-tuned"
    )
    assert not is_long({"task": "mnist", "budget": {"steps": 9_000, "seconds": None}})


def test_a_run_of_fewer_evaluations_than_a_window_reaches_nothing() -> None:
    results = made_up(wrong_labels=0.4)
    for run in results["runs"]:
        run["curve"] = {"step": [10], "seconds": [1.0], "accuracy": [0.5]}
    assert verdict.goal_of(results) == 0.5
    assert "nothing to compare" in verdict.markdown([results])


def test_a_comparison_at_tuned_rates_takes_the_place_of_the_other() -> None:
    by_hand, of_fewer, tuned = made_up(), made_up(pool=7), made_up() | {"tuning": {"rates": {}}}
    assert verdict.latest([by_hand, of_fewer, tuned]) == [of_fewer, tuned]


def test_a_default_that_waits_is_none() -> None:
    results = made_up()
    results["strategies"][DEFAULT]["start"] = "ratio:0.42"
    assert verdict.judge(results).default is None


def test_a_choice_that_never_began_is_told() -> None:
    results = made_up()
    for run in verdict.runs_of(results, "slow"):
        run["importance_steps"] = 0
    labels = [row.label for row in verdict.judge(results).choices]
    assert labels == ["FAST", DEFAULT.upper(), "SLOW (never began)"]


def test_without_choices_or_uniform_sampling_there_is_nothing_to_judge(tmp_path: Path) -> None:
    baselines = comparison({"uniform": [4.0] * 5, "random-subset": [4.0] * 5, ROW_LOOP: [9.0] * 5})
    alone = comparison({"slow": [4.0] * 5}) | {"target": None}
    assert not any(map(verdict.can_be_judged, (baselines, alone, {"settings": {}})))
    path = tmp_path / "results.json"
    path.write_text(json.dumps(baselines))
    with pytest.raises(SystemExit, match=r"results\.json is not a comparison of choices of rows"):
        main(["verdict", str(path)])


def test_the_command_judges_what_is_committed_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = tmp_path / "committed"
    committed.mkdir()
    monkeypatch.setattr(verdict, "RESULTS", committed)
    study = comparison({"uniform": [1.0] * 5, "slow@0.5": [2.0] * 5}, study="thresholds")
    for name, result in {"b": made_up(), "a": study, "c": {"machine": {}}}.items():
        (committed / f"{name}.json").write_text(json.dumps(result))
    main(["verdict"])
    assert capsys.readouterr().out == (
        f"{verdict.short([made_up()])}\n{verdict.grid([made_up()])}\n"
        f"{verdict.markdown([made_up()])}\n"
    )
    other = tmp_path / "results.json"
    other.write_text(json.dumps(made_up(pool=7)))
    main(["verdict", str(other)])
    assert "two-circles, 7 samples" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is no file: run `python -m bench compare` first"):
        main(["verdict", str(tmp_path)])


def test_it_is_told_where_uniform_sampling_reaches_the_target_with_few_seeds() -> None:
    results = made_up()
    assert "5 seeds, target 50.00%; the" in verdict.markdown([results])
    for run in verdict.runs_of(results, "uniform")[:2]:
        run["curve"]["accuracy"] = [0.2, 0.2, 0.2, 0.2]
    text = verdict.markdown([results])
    assert "5 seeds, target 50.00%, which uniform reaches with 3 of them; the" in text
