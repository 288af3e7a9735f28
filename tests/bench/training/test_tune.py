"""Learning rates chosen from a grid, on seeds that no table has."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.tasks import TASKS
from bench.training.tune import choose, markdown
from tests.bench.tiny_bench import QUICK_TASK


def results(seconds: dict[str, list[float]], accuracy: dict[str, float]) -> dict[str, Any]:
    """Runs that reach 0.5 at these seconds, one per seed, and end at an accuracy."""
    runs = [
        {
            "strategy": name,
            "curve": {
                "step": [1, 2, 3, 4],
                "seconds": [0.0, 0.0, at, at + 1],
                "accuracy": [0.6 if at < math.inf else 0.4] * 3 + [3 * accuracy[name] - 1.2],
            },
        }
        for name, moments in seconds.items()
        for at in moments
    ]
    return {
        "machine": {},
        "commits": ["a"],
        "settings": {"task": "two-circles"},
        "seeds": [1000, 1001, 1002],
        "strategies": dict.fromkeys(seconds),
        "runs": runs,
    }


def test_the_best_rate_has_the_shortest_median_time_or_the_highest_accuracy() -> None:
    never = math.inf
    by_rate = {
        0.1: results({"a": [1, 2, 9], "b": [never] * 3}, {"a": 0.8, "b": 0.6}),
        0.2: results({"a": [1.5, 1.5, never], "b": [never, never, 1]}, {"a": 0.7, "b": 0.7}),
        0.4: results({"a": [1, never, never], "b": [never] * 3}, {"a": 0.9, "b": 0.7}),
    }
    by_time = choose(by_rate, 0.5)
    assert by_time["rates"] == {"a": 0.2, "b": 0.2}  # b by accuracy: of equals, the smallest
    assert by_time["scores"]["a"]["seconds_to_target"] == [2, 1.5, None]
    assert by_time["criterion"] == "the shortest median time to 50.00%"
    assert by_time["at_an_end"] == []
    by_accuracy = choose(by_rate, None)
    assert by_accuracy["rates"] == {"a": 0.4, "b": 0.2}
    assert by_accuracy["criterion"] == "the highest mean accuracy at the end"
    assert by_accuracy["at_an_end"] == ["a"]
    assert "| a " in markdown(by_accuracy)
    assert "At an end of the grid: a.\n" in markdown(by_accuracy)


def test_a_comparison_takes_the_rates_that_were_found_on_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", QUICK_TASK)
    names = ["--strategies", "uniform", "uniform-decayed", "kf18", "--seeds", "2"]
    tune = ["tune", "two-circles", *names[:3], *names[-2:], "--out", str(tmp_path / "tuned")]
    main([*tune, "--grid", "1", "4"])
    assert "| uniform-decayed | " in capsys.readouterr().out
    main([*tune, "--absolute", "--grid", "0.02", "0.005", "0.1"])
    # What is common to both grids is not trained again.
    assert capsys.readouterr().out.count("4 of 4 runs taken from ") == 2
    path = tmp_path / "tuned" / "rates.json"
    tuning = json.loads(path.read_text())
    assert tuning["grid"] == [0.005, 0.02, 0.1]
    assert tuning["seeds"] == [1000, 1001]
    assert tuning["settings"]["task"] == "two-circles"
    assert tuning["held_out"] == 409
    assert tuning["settings"]["pool"] == 4096 - 409
    assert set(tuning) >= {"machine", "commits"}

    compare = ["compare", "two-circles", *names, "--rates", str(path), "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"rates\.json has no learning rate of kf18"):
        main(compare)
    main([*compare, "--rate", "kf18=0.03"])
    told = capsys.readouterr().out
    assert "best learning rate of 0.005, 0.02, 0.1, by the highest mean accuracy at the" in told
    assert "found on other seeds (1000 to 1001) and 409 samples held out of the " in told
    assert "Not tuned: kf18 0.03." in told
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["tuning"] == tuning
    assert found["seeds"] == [0, 1]
    for name, rate in tuning["rates"].items():
        assert found["strategies"][name]["learning_rate"] == rate

    path.write_text(json.dumps(tuning | {"settings": {"task": "mnist"}}))
    with pytest.raises(SystemExit, match="has the learning rates of mnist, not of two-circles"):
        main(compare)


def test_tables_leave_the_seeds_of_tuning_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "two-circles", "--seeds", "1001"])
    assert "seeds from 1000 on are for tuning" in capsys.readouterr().err
