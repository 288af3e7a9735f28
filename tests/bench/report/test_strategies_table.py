"""The table for strategies of any level, from results made up."""

import math
from typing import Any

import pytest

from bench.report import paper_tables, strategies_table
from bench.report.machine import describe
from tests.bench import made_up


def made_up_results() -> dict[str, Any]:
    """Two strategies of two seeds, evaluated each second, the first with twice as many steps."""

    def run(strategy: str, seed: int, steps: int, accuracy: list[float]) -> dict[str, Any]:
        moments = range(1, len(accuracy) + 1)
        return {
            "strategy": strategy,
            "seed": seed,
            "split_us": {
                "forward": 500.0,
                "selection": 100.0 + 250.0 * seed,
                "second_model": 50.0 if strategy == "kf18" else 0.0,
                "step": 1000.0 + 250.0 * seed,
            },
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
    overview = strategies_table.summarise(results)
    assert overview["moments"] == {"seconds": 4.0, "step": 40}
    uniform, other = overview["rows"]
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
    assert other["second_model_share"] == pytest.approx((0.05 + 0.04) / 2)
    assert other["share_beyond_forward"] == pytest.approx((100 / 500 + 350 / 750) / 2)
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
    assert rows[1][5:12] == ["0.60", "too few seeds", "40", "1.12", "19.0%", "4.5%", "0.1"]
    assert rows[0][10] == "-"
    assert "the largest is 19.0% (uniform), and of a step without its forward passes 33.3%" in text
    assert "plan for 7 epochs" in text


def test_tuned_learning_rates_are_told() -> None:
    results = made_up_results()
    results["strategies"]["uniform"]["learning_rate"] = 0.02
    results["strategies"]["kf18"]["learning_rate"] = 0.01
    results["tuning"] = made_up.tuning(results)
    assert strategies_table.markdown(results).splitlines()[2] == (
        "Each at its best learning rate of 0.005, 0.01, by the shortest median time to 75.00%, "
        "found on other seeds (1000 to 1002) and 5,000 samples held out of the training set: "
        "kf18 0.01. At an end of that grid: kf18. "
        "Not tuned: uniform 0.02."
    )
    results["tuning"]["seeds"] = [1000]
    assert "found on other seeds (1000) and" in strategies_table.markdown(results)


def test_what_rates_were_tuned_with_is_told_where_it_was_other() -> None:
    settings = {"budget": {"seconds": 9.0}, "pool": 60_000, "start": "always"}
    tuning = {"settings": settings | {"pool": 55_000}, "held_out": 5000}
    assert paper_tables.tuned_otherwise(tuning, settings) == []
    tuning["settings"] |= {"budget": {"seconds": 1.0}, "pool": 2000, "compiled": True}
    assert paper_tables.tuned_otherwise(tuning, settings) == [
        "They were found with another budget, compilation and number of samples."
    ]


def test_a_strategy_that_ends_too_soon_has_no_number_there() -> None:
    results = made_up_results()
    results["strategies"]["gradient-norm-cdf-loop"] = {"label": "loop"}
    loop = results["runs"][2] | {"strategy": "gradient-norm-cdf-loop"}
    loop["curve"] = {name: values[:1] for name, values in loop["curve"].items()}
    results["runs"].append(loop)
    overview = strategies_table.summarise(results)
    row = overview["rows"][-1]
    assert overview["moments"] == {"seconds": 4.0, "step": 40}  # of the others
    assert row["at_equal_time"] is row["at_equal_steps"] is None
    assert "| loop " in strategies_table.markdown(results)
