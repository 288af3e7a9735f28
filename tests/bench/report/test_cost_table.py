"""What a step takes and what it is worth, in uniform sampling's units."""

from bench.report import cost_table
from bench.report.results import runs_of
from tests.bench import made_up


def test_the_time_to_the_target_is_what_a_step_takes_over_what_it_is_worth() -> None:
    results = made_up.paper_results() | {"target": 0.75}
    # Uniform sampling: a second for 10 steps with seed 0, three with seed 1, where it never reaches
    # the target; the other one and two. With seed 0 they reach it after 80 steps and 60.
    label, takes, _, worth, time, word = cost_table.cells(results, "kf18")
    assert label == "good"
    assert takes == f"{1.5 / 2:.2f}"
    assert worth == f"{80 / 60:.2f}"
    assert time == f"{60 / 80:.2f}"
    assert word == "too few seeds"
    label, *_ = cost_table.cells(results, "highest-loss")
    assert label == "bad, not weighted"


def test_a_target_that_uniform_sampling_never_reaches_says_nothing() -> None:
    results = made_up.paper_results() | {"target": 0.99}
    assert cost_table.cells(results, "kf18")[2:] == ["-"] * 4


def test_what_a_step_is_worth_that_leads_nowhere_is_not_told() -> None:
    results = made_up.paper_results() | {"target": 0.75}
    for run in results["runs"]:
        if run["strategy"] == "kf18":
            run["curve"]["accuracy"] = [0.1 for _ in run["curve"]["accuracy"]]
    assert cost_table.cells(results, "kf18")[3:5] == ["-", "not reached"]


def test_what_it_was_forecast_to_be_worth_is_beside_it() -> None:
    results = made_up.paper_results() | {"target": 0.75}
    for run, values in zip(runs_of(results, "kf18"), ([None, 2.0], [3.0, 4.0]), strict=True):
        run["curve"]["tau"] = values
    assert cost_table.cells(results, "kf18")[2] == "3.00"
    assert cost_table.cells(results, "highest-loss")[2] == "-"
