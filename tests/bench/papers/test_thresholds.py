"""`python -m bench thresholds`: each strategy from each threshold on, and what the runs say."""

import json
import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench.__main__ import main
from bench.report import figures, study_figures, thresholds_table
from bench.report.results import ROW_LOOP
from bench.tasks import TASKS
from bench.training import taking_over
from tests.bench.tiny_bench import TINY

PNG = b"\x89PNG"
COMMAND = ["thresholds", "two-circles", "--seeds", "1", "--strategies", "highest-loss-cdf"]


def test_thresholds_decide_when_importance_sampling_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    command = [*COMMAND, "--thresholds", "1e-9", "1e9", "--out", str(tmp_path)]
    main(command)
    printed = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() in printed
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"]["study"] == "thresholds"
    assert {run["strategy"]: run["importance_steps"] for run in results["runs"]} == {
        "uniform": 0,
        "highest-loss-cdf@1e+09": 23,  # of 24: the rule hears of the first one
        "highest-loss-cdf@1e-09": 0,
    }
    assert (tmp_path / "thresholds.png").read_bytes().startswith(PNG)

    # A second call makes no run again, and the figure comes from the results alone.
    main(command)
    assert "3 of 3 runs taken from" in capsys.readouterr().out
    (tmp_path / "thresholds.png").unlink()
    main(["figures", str(tmp_path)])
    assert (tmp_path / "thresholds.png").exists()

    monkeypatch.setattr(taking_over, "RESULTS", tmp_path / "committed")
    taking_over.take_over(tmp_path)
    committed = {path.name for path in (tmp_path / "committed").iterdir()}
    assert committed == {"two-circles-thresholds.json", "two-circles-thresholds.png"}


@pytest.mark.parametrize("name", ["infobatch", "random-subset", ROW_LOOP])
def test_a_strategy_without_a_start_rule_is_refused(name: str) -> None:
    with pytest.raises(SystemExit, match=f"{name} has no start rule"):
        main(["thresholds", "two-circles", "--strategies", name])


def test_what_a_strategy_needs_is_prepared_for_it_from_each_threshold_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    command = ["thresholds", "two-circles", "--seeds", "1", "--strategies", "rho-loss"]
    main([*command, "--thresholds", "1e9", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert [run["importance_steps"] for run in results["runs"]] == [0, 23]


def made_up(early: list[float], late: list[float]) -> dict:
    """Uniform sampling, and a strategy from two thresholds on; an evaluation a second."""

    def run(strategy: str, accuracy: list[float]) -> dict:
        seconds = list(range(1, len(accuracy) + 1))
        curve = {"step": seconds, "seconds": seconds, "accuracy": accuracy}
        return {"strategy": strategy, "seed": 0, "curve": curve}

    looks = {"colour": "#000000", "line": "-"}
    return {
        "machine": dict.fromkeys(
            ("cpu", "cores", "threads", "instruction_set", "torch", "python"), "x"
        ),
        "settings": {
            "task": "mnist",
            "study": "thresholds",
            "large_batch": 1024,
            "mini_batch": 128,
        },
        "seeds": [0],
        "target": 0.75,
        "strategies": {
            "uniform": looks | {"label": "uniform"},
            "top@0.8": looks | {"label": "top k, 0.8"},
            "top@0.3": looks | {"label": "top k, 0.3"},
        },
        "runs": [
            run("uniform", [0.5, 0.5, 0.75, 0.75, 0.75, 0.75]),
            run("top@0.8", early),
            run("top@0.3", late),
        ],
    }


def test_thresholds_are_drawn_against_time_and_against_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    study_figures.draw(made_up([0.5] * 6, [0.75] * 6), tmp_path / "one.png")
    (figure,) = drawn
    assert [ax.get_xlabel() for ax in figure.axes] == list(figures.AXES.values())
    for ax in figure.axes:
        assert [line.get_label() for line in ax.lines][:3] == ["uniform", "0.8", "0.3"]


def test_the_table_says_which_threshold_is_the_soonest(tmp_path: Path) -> None:
    results = made_up([0.75] * 3 + [0.875] * 3, [0.5] * 4 + [0.75] * 2)
    text = thresholds_table.markdown(results)
    assert "| top k     | 87.50% | 66.67% |" in text
    assert "| top k     | 0.60 | not reached |" in text
    assert "1 of 2 end above uniform sampling. " in text
    assert "soonest with the threshold 0.8, after 0.60 of its own time" in text
    assert "the latest with 0.3, not at all." in text
    assert thresholds_table.times(results)[0.3] == math.inf
    study_figures.draw(results, tmp_path / "one.png")

    both = [0.5] * 4 + [0.75] * 2
    text = thresholds_table.markdown(made_up(both, both))
    assert text.count("not reached") == 2
    assert "0 of 2 end above uniform sampling.\n" in text

    late = [0.5] * 5 + [0.75]
    results = made_up([0.75] * 6, late)
    results["strategies"]["top@0.5"] = {"label": "top k, 0.5"}
    results["runs"].append(results["runs"][-1] | {"strategy": "top@0.5"})
    text = thresholds_table.markdown(results)
    assert "the latest with 0.3, 0.5, not at all." in text

    neither = made_up([0.1] * 6, [0.1] * 6)
    assert "0 of 2 end above uniform sampling.\n" in thresholds_table.markdown(neither)
