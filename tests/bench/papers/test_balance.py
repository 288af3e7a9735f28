"""`python -m bench balance`: what is picked of each class, and what the runs say of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.report import balance_table
from bench.report.results import runs_of
from bench.tasks import TASKS
from tests.bench.tiny_bench import TINY, tiny_data

POOL, RARE, EPOCHS = 400, 0.25, 3


def test_picks_of_each_class_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", replace(TINY, start="always"))
    strategies = ["uniform", "early-importance", "highest-loss-cdf"]
    command = ["balance", "two-circles", "--seeds", "2", "--strategies", *strategies]
    command += ["--pool", str(POOL), "--rare", str(RARE), "--epochs", str(EPOCHS)]
    main([*command, "--out", str(tmp_path)])
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "balance.png").read_bytes().startswith(b"\x89PNG")

    results = json.loads((tmp_path / "results.json").read_text())
    data = tiny_data(tmp_path).first(POOL)
    kept = [int((data.y == 0).sum()), round(RARE * int((data.y == 1).sum()))]
    assert results["settings"]["pool"] == sum(kept)
    assert results["classes"]["names"] == ["0", "1"]
    assert results["classes"]["shares"] == pytest.approx([k / sum(kept) for k in kept], abs=1e-6)
    steps = sum(kept) // TINY.mini
    for run in results["runs"]:
        curve = run["curve"]
        assert curve["step"] == [steps * epoch for epoch in range(1, EPOCHS + 1)]
        assert [sum(counts) for counts in curve["picked_classes"]] == [steps * TINY.mini] * EPOCHS
        assert all(0 <= a <= 1 for accuracies in curve["class_accuracy"] for a in accuracies)
    # An epoch of this sampler is one of all samples, but for the last few.
    (first, *_) = runs_of(results, "early-importance")[0]["curve"]["picked_classes"]
    assert all(0 <= k - count < TINY.mini for k, count in zip(kept, first, strict=True))


def test_an_epoch_of_fewer_samples_than_a_mini_batch_is_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    command = ["balance", "two-circles", "--seeds", "1", "--epochs", "2", "--strategies"]
    main([*command, "uniform", "--pool", str(TINY.mini - 1), "--out", str(tmp_path)])
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert run["curve"]["step"] == [1, 2]


def test_the_table_tells_the_distance_from_balance() -> None:
    assert balance_table.distance([0.25] * 4) == 0
    assert balance_table.distance([0.7, 0.1, 0.1, 0.1]) == pytest.approx(0.45)

    def run(strategy: str, seed: int, picked: list[list[int]]) -> dict:
        epochs = len(picked)
        curve = {
            "step": [5 * epoch for epoch in range(1, epochs + 1)],
            "seconds": [2.0 * epoch for epoch in range(1, epochs + 1)],
            "accuracy": [0.5] * epochs,
            "picked_classes": picked,
            "class_accuracy": [[0.75, 0.25 + seed / 4]] * epochs,
        }
        return {"strategy": strategy, "seed": seed, "curve": curve}

    machine = dict.fromkeys(("cpu", "cores", "threads", "instruction_set", "torch", "python"), "x")
    results = {
        "machine": machine,
        "settings": {"task": "mnist", "pool": 1000, "evaluate_every": 5},
        "seeds": [0, 1],
        "classes": {"names": ["0", "1"], "shares": [0.9, 0.1]},
        "strategies": {"uniform": {"label": "uniform"}, "early": {"label": "early importance"}},
        "runs": [
            run("uniform", 0, [[90, 10], [90, 10]]),
            run("uniform", 1, [[90, 10], [90, 10]]),
            run("early", 0, [[90, 10], [60, 40]]),
            run("early", 1, [[90, 10], [50, 50]]),
        ],
    }
    text = balance_table.markdown(results)
    row = next(line for line in text.splitlines() if line.startswith("| early importance"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    # Over both seeds 110 of 200 picks are of the one class; class accuracies are .75 and .375.
    assert cells[1:] == ["50.00% ± 0.00", "37.5%", "0.400", "0.050", "1.2", "4.0 s"]
    assert "From a distance of 0.40, 1 of 1 strategies come nearer" in text
    assert "early importance 0.05." in text
