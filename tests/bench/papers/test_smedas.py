"""`python -m bench smedas`: what is chosen by batch, by epoch and by both, and its tables."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from bench.__main__ import main
from bench.papers import smedas
from bench.papers.epochs import LARGE, EpochTraining, ways
from bench.report import charts, smedas_table
from bench.tasks import TASKS
from bench.tasks.task import Data
from bench.training import taking_over

SAMPLES, BATCH = 96, 8


def pictures(_: Path = Path()) -> Data:
    """Ten classes, each of which lights one row of pixels, and noise."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(SAMPLES) % 10
    x = torch.randn(SAMPLES, 1, 28, 28, generator=generator)
    x[torch.arange(SAMPLES), 0, y] += 2.0
    return Data(x, y, x[:40], y[:40])


def training(way: str) -> EpochTraining:
    data = pictures()
    return EpochTraining(smedas.task_of("mnist", "fcnet100", BATCH, data), data, ways()[way], 0)


def test_an_epoch_is_a_pass_over_the_samples() -> None:
    uniform = training("uniform")
    assert sorted(uniform.samples(0).tolist()) == list(range(SAMPLES))
    assert uniform.samples(0).tolist() != uniform.samples(1).tolist()
    uniform.train_epoch(0)
    assert uniform.steps == SAMPLES / BATCH
    assert uniform.optimizer.param_groups[0]["momentum"] == 0.9
    for way in ("top-k", "loss-split"):
        chosen = training(way)
        chosen.train_epoch(0)
        assert chosen.steps == SAMPLES / BATCH / LARGE


def test_an_epochwise_filter_keeps_what_the_model_gets_wrong() -> None:
    run = training("epochwise")
    assert len(run.samples(0)) == SAMPLES
    with torch.no_grad():
        wrong = run.logits(run.data.x).argmax(1) != run.data.y
    assert sorted(run.samples(1).tolist()) == wrong.nonzero().squeeze(1).tolist()
    with torch.no_grad():  # all is right then: as many as fill a mini-batch are left
        run.model = torch.nn.Sequential(torch.nn.Flatten(), Knows(run.data))
    assert len(run.samples(2)) == BATCH


def test_a_batchwise_filter_works_within_an_epochwise_one() -> None:
    run = training("epochwise+hard-accuracy")
    samples = run.samples(1)  # none of which an untrained model gets right
    batches = list(run.strategy.batches(run.raw_batches(samples)))
    assert len(batches) == len(samples) // BATCH < SAMPLES // BATCH
    chosen = torch.cat([batch.x for batch in batches])
    assert torch.equal(chosen, run.data.x[samples[: len(chosen)]])
    run.train_epoch(1)
    assert 0 < run.steps <= len(batches)


class Knows(torch.nn.Module):
    """Has the right answer to all samples."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.answers = {tuple(x.flatten().tolist()): y for x, y in zip(data.x, data.y, strict=True)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.stack([self.answers[tuple(row.tolist())] for row in x])
        return torch.nn.functional.one_hot(y, 10).float()


def test_one_command_makes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "mnist", replace(TASKS["mnist"], load=pictures))
    monkeypatch.setattr(smedas, "SMALL", replace(smedas.SMALL, networks=("fcnet100",), epochs=2))
    command = ["smedas", "--batches", str(BATCH), "--out", str(tmp_path)]
    main(command)
    captured = capsys.readouterr()
    assert (tmp_path / "table.md").read_text() in captured.out
    assert f"10 of 10 runs: mnist/fcnet100/{BATCH}/epochwise+hard-accuracy, seed 1" in captured.err
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"]["optimizer"] == "SGD(momentum=0.9, weight_decay=0.0005)"
    assert [(run["strategy"], run["seed"]) for run in results["runs"]] == [
        (f"mnist/fcnet100/{BATCH}/{way}", seed) for seed in (0, 1) for way in smedas.STUDIED
    ]
    for run in results["runs"]:
        assert {len(values) for values in run["curve"].values()} == {2}
        for split in ("train", "test"):
            assert 0 <= run[split]["accuracy"] <= 1
            assert run[split]["mean"] <= run[split]["worst"]
            assert run[split]["quantile"] <= run[split]["worst"]
    assert results["strategies"][f"mnist/fcnet100/{BATCH}/epochwise"]["line"] == "--"
    assert charts.chart(results, "accuracy")["data"]
    assert (tmp_path / "smedas.png").read_bytes().startswith(b"\x89PNG")

    # What is on disk is not made again, unless it is asked for otherwise.
    monkeypatch.setattr(EpochTraining, "train_epoch", None)
    main(command)
    with pytest.raises(TypeError):
        main([*command, "--epochs", "1"])

    monkeypatch.setattr(taking_over, "RESULTS", tmp_path / "committed")
    taking_over.take_over(tmp_path)
    assert (tmp_path / "committed" / "smedas.json").exists()
    assert (tmp_path / "committed" / "smedas.png").exists()


def test_fewer_samples_than_a_batch_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "mnist", replace(TASKS["mnist"], load=pictures))
    with pytest.raises(SystemExit, match="mnist has 96 samples, expected at least 128"):
        main(["smedas", "--batches", "8", "128", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_cifar_is_augmented_as_it_is_trained_on_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def augment(x: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        seen.append(len(x))
        return x

    monkeypatch.setattr(smedas, "crop_and_flip", augment)
    data = pictures()
    settings = {"epochs": 1}
    for name, rows in (("mnist", 0), ("cifar10", SAMPLES), ("cifar100", SAMPLES)):
        seen.clear()
        task = smedas.task_of(name, "fcnet100", BATCH, data)
        smedas.made(task, data, ways()["uniform"], 0, settings, tmp_path)
        assert sum(seen) == rows


def test_the_full_table_is_the_thesis_s() -> None:
    assert smedas.FULL.data == ("mnist", "cifar10", "cifar100")
    assert smedas.FULL.networks == ("fcnet100", "fcnet1000", "fcnet3000", "lenet", "resnet18")
    assert 1024 in smedas.FULL.batches
    assert isinstance(smedas.SGD, partial)
    assert smedas.SGD.keywords == {"momentum": 0.9, "weight_decay": 5e-4}
    assert smedas.LEARNING_RATE == 0.1


def test_ratios_are_to_uniform_sampling_and_to_the_test_set() -> None:
    def run(kind: str, way: str, accuracy: float, loss: float) -> dict:
        test = {"accuracy": accuracy, "mean": loss, "quantile": 2 * loss, "worst": 10 * loss}
        train = {"accuracy": 1.0, "mean": 0.0, "quantile": loss, "worst": 5 * loss}
        curve = {"step": [10], "seconds": [1.5], "accuracy": [accuracy]}
        return {
            "strategy": f"{kind}/{way}",
            "seed": 0,
            "test": test,
            "train": train,
            "curve": curve,
        }

    def cells_of(way: str) -> list[list[str]]:
        lines = [line for line in text.splitlines() if line.startswith(f"| {way} ")]
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    machine = dict.fromkeys(("cpu", "cores", "threads", "instruction_set", "torch", "python"), "x")
    settings = {"optimizer": "SGD", "learning_rate": 0.1, "epochs": 3, "pool": None}
    settings |= {"device": "cpu", "sources": {"cifar10": "JPEG"}}
    known, unknown = "cifar10/resnet18/1024", "cifar10/lenet/1024"
    runs = [run(kind, "uniform", 0.8, 0.5) for kind in (known, unknown)]
    runs += [run(kind, "epochwise", 0.6, 0.25) for kind in (known, unknown)]
    runs += [run(known, "hard-accuracy", 0.6, 0.25)]
    results = {"machine": machine, "seeds": [0], "settings": settings, "runs": runs}
    text = smedas_table.markdown(results)
    assert "Of 3 choices, 0 have a higher test accuracy than uniform sampling, and 3 a" in text
    assert "cifar10 (JPEG), resnet18, batches of 1024, mean of 1 seed:" in text
    losses = ["0.25 (0.50)", "0.5 (0.50)", "2.5 (0.50)"]
    on_train = ["1.000 (1.00)", "0 (-)", "0.25 (0.50)", "1.25 (0.50)"]
    further = [*losses, *on_train, "1.67", "0.00", "0.50", "0.50", "10", "1.5 s"]
    beside, alone = cells_of("epochwise")
    assert beside == ["epochwise", "0.600 (0.75)", "-", *further]
    assert alone == ["epochwise", "0.600 (0.75)", *further]
    # Beside the thesis's.
    assert [row[:3] for row in cells_of("uniform")[:1] + cells_of("hard-accuracy")] == [
        ["uniform", "0.800", "0.849"],
        ["hard-accuracy", "0.600 (0.75)", "0.787"],
    ]
