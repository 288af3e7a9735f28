"""From a finished comparison to the results that are committed."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.report import paper_tables, readme, wrong_labels_table
from bench.report import results as results_of
from bench.report.files import write_json
from bench.training import taking_over
from bench.training.runner import run_all
from tests.bench import made_up
from tests.bench.tiny_bench import (
    comparison,
    tiny_data,
)


def test_mnist_is_taken_over_without_a_figure_and_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (readme, taking_over):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "committed")
    assert readme.PARTS["docs/benchmarks.md"]["mnist"]() == ""

    results = made_up.paper_results()
    results["settings"]["task"] = "mnist"
    results["target"] = results_of.target(results)
    evaluations = 1001
    for run in results["runs"]:
        run["curve"] = {
            "step": list(range(20, 20 * evaluations + 1, 20)),
            **{quantity: [0.123456] * evaluations for quantity in ("seconds", "accuracy", "loss")},
        }
    write_json(tmp_path / "compared" / "results.json", results)
    taking_over.take_over(tmp_path / "compared")

    assert [path.name for path in (tmp_path / "committed").iterdir()] == ["mnist.json"]
    # The summary is that of all evaluations.
    assert readme.PARTS["docs/benchmarks.md"]["mnist"]() == paper_tables.markdown(results)
    for run in json.loads((tmp_path / "committed" / "mnist.json").read_text())["runs"]:
        steps = run["curve"]["step"]
        assert {len(values) for values in run["curve"].values()} == {len(steps)}
        assert 50 <= len(steps) <= 100
        assert steps[-1] == 20 * evaluations
        assert len(set(np.diff(steps))) == 1

    results["settings"]["compiled"] = True
    write_json(tmp_path / "compared" / "results.json", results)
    taking_over.take_over(tmp_path / "compared")
    assert readme.PARTS["docs/benchmarks.md"]["mnist-compiled"]() == paper_tables.markdown(results)

    budget = {"steps": 24, "seconds": None}
    results["settings"] |= {"compiled": False, "pool": 100, "wrong_labels": 0.4, "budget": budget}
    for strategy in results["strategies"].values():
        strategy["learning_rate"] = 0.001
    write_json(tmp_path / "compared" / "results.json", results)
    taking_over.take_over(tmp_path / "compared")
    assert readme.PARTS["docs/benchmarks.md"][
        "mnist-wrong-labels"
    ]() == wrong_labels_table.markdown(results)


def test_two_circles_is_taken_over_whole_and_with_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["uniform", "gradient-norm-cdf"]
    results = run_all(comparison(tmp_path / "compared", names=names), tiny_data(tmp_path))
    for module in (readme, taking_over):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    taking_over.take_over(tmp_path / "compared")
    assert json.loads((tmp_path / "two-circles.json").read_text()) == results
    assert (tmp_path / "two-circles.png").read_bytes().startswith(b"\x89PNG")
    assert readme.PARTS["docs/benchmarks.md"]["two-circles"]() == paper_tables.markdown(results)
