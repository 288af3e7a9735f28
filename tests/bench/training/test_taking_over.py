"""From a finished comparison to the results that are committed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from bench.report import paper_tables, readme, wrong_labels_table
from bench.report import results as results_of
from bench.report.files import write_json
from bench.tasks import TASKS
from bench.tasks.task import Data
from bench.training import taking_over
from bench.training.runner import run_all
from tests.bench import made_up
from tests.bench.tiny_bench import (
    COUNTED,
    comparison,
    tiny_data,
)


def written(results: dict[str, Any], directory: Path) -> None:
    """A finished comparison without pictures."""
    looks = {"colour": "#000000", "line": "-"}
    for strategy in results["strategies"].values():
        strategy.update(looks)
    write_json(directory / "results.json", results)
    np.savez(directory / "pictures.npz")


def test_mnist_is_taken_over_with_its_curves_and_shortened(
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
            "seconds": list(range(1, evaluations + 1)),
            **{quantity: [0.123456] * evaluations for quantity in ("accuracy", "loss")},
        }
    written(results, tmp_path / "compared")
    taking_over.take_over(tmp_path / "compared")

    committed = {path.name for path in (tmp_path / "committed").iterdir()}
    assert committed == {"mnist.json", "mnist-curves.png"}
    # The summary is that of all evaluations.
    assert readme.PARTS["docs/benchmarks.md"]["mnist"]().startswith(paper_tables.markdown(results))
    for run in json.loads((tmp_path / "committed" / "mnist.json").read_text())["runs"]:
        steps = run["curve"]["step"]
        assert {len(values) for values in run["curve"].values()} == {len(steps)}
        assert 75 <= len(steps) <= 150
        assert steps[-1] == 20 * evaluations
        assert len(set(np.diff(steps))) == 1

    results["settings"]["compiled"] = True
    results["tuning"] = made_up.tuning(results)
    written(results, tmp_path / "compared")
    taking_over.take_over(tmp_path / "compared")
    part = readme.PARTS["docs/benchmarks.md"]["mnist-compiled-tuned"]()
    assert part.startswith(paper_tables.markdown(results))
    assert "python -m bench compare mnist " in part
    assert " --compile " in part

    budget = {"steps": 24, "seconds": None}
    results["settings"] |= {"compiled": False, "pool": 100, "wrong_labels": 0.4, "budget": budget}
    for strategy in results["strategies"].values():
        strategy["learning_rate"] = 0.001
    written(results, tmp_path / "compared")
    taking_over.take_over(tmp_path / "compared")
    part = readme.PARTS["docs/benchmarks.md"]["mnist-wrong-labels-tuned"]()
    assert part.startswith(wrong_labels_table.markdown(results))


def test_tuned_rates_make_results_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_over, "RESULTS", tmp_path / "committed")
    results = made_up.paper_results() | {"target": 0.5}
    results["tuning"] = {"rates": {"uniform": 0.1}}
    written(results, tmp_path / "compared")
    taking_over.take_over(tmp_path / "compared")
    assert [path.name for path in (tmp_path / "committed").iterdir()] == ["two-circles-tuned.json"]


def test_a_study_of_a_part_of_the_samples_is_committed_beside_the_whole() -> None:
    names = [
        taking_over.name_of({"settings": {"study": "smedas", "pool": pool}}) for pool in (None, 96)
    ]
    assert names == ["smedas", "smedas-subset"]


def test_uniform_sampling_reaches_its_own_accuracy_in_what_is_committed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_over, "RESULTS", tmp_path / "committed")
    results = made_up.paper_results()
    results["settings"]["task"] = "mnist"
    rising = [i / 300 for i in range(300)]
    for run in results["runs"]:
        run["curve"] = dict.fromkeys(("step", "seconds", "accuracy", "loss"), rising)

    def committed(target: float | None) -> dict:
        results["target"] = results_of.target(results, target)
        written(results, tmp_path / "compared")
        taking_over.take_over(tmp_path / "compared")
        return json.loads((tmp_path / "committed" / "mnist.json").read_text())

    shortened = committed(None)
    for run in results_of.runs_of(shortened, "uniform"):
        assert results_of.first_reaching(run, shortened["target"]) is not None
    assert committed(0.5)["target"] == 0.5


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
    assert readme.PARTS["docs/benchmarks.md"]["two-circles"]().startswith(
        paper_tables.markdown(results)
    )


def test_what_was_picked_is_taken_over_as_pictures_with_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar10 = TASKS["cifar10"]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(96, 3, 32, 32, generator=generator), torch.arange(96) % 10
    looks = {name: getattr(cifar10, name) for name in ("name", "network", "to_pixels")}
    task = replace(COUNTED, **looks, class_names=cifar10.class_names, start="always")
    parts = comparison(tmp_path / "compared", task, ["uniform", "highest-loss-cdf"])
    run_all(parts, Data(x, y, x[:10], y[:10]))
    with np.load(tmp_path / "compared" / "pictures.npz") as pictures:
        images, classes, chosen, picks = (
            pictures[f"highest-loss-cdf/{kind}"]
            for kind in ("images", "classes", "chosen", "counts")
        )
    assert images.shape == (80, 32, 32, 3)
    assert classes.tolist() == [cifar10.class_names[i % 10] for i in chosen]

    drawn: list[Figure] = []
    savefig = Figure.savefig

    def keep(figure: Figure, path: Path) -> None:
        drawn.append(figure)
        savefig(figure, path)

    monkeypatch.setattr(Figure, "savefig", keep)
    monkeypatch.setattr(taking_over, "RESULTS", tmp_path / "committed")
    taking_over.take_over(tmp_path / "compared")
    most, least, counts = drawn[-1].subfigs
    for half, shown in ((most, chosen[:7]), (least, chosen[40:47])):
        titles = [ax.get_title() for ax in half.axes]
        assert titles == [f"{cifar10.class_names[i % 10]}: {picks[i]}" for i in shown]
    (bars,) = counts.axes[0].patches
    assert bars.get_data().values.tolist() == np.bincount(picks).tolist()

    committed = {path.name for path in (tmp_path / "committed").iterdir()}
    figures = {"cifar10-curves.png", "cifar10-picked.png"}
    assert committed == {"cifar10.json", "cifar10.npz", *figures}
    assert (tmp_path / "committed" / "cifar10.npz").stat().st_size < 100_000  # of 14 pictures
