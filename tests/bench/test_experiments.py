"""The experiments of bench/: data, runs that resume, and the numbers in their tables."""

import gzip
import json
import math
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import impsamp_fast
from bench.__main__ import main
from bench.operators import peers, ratios
from bench.report import machine, operator_tables, paper_tables, readme
from bench.report import results as results_of
from bench.report.files import write_json
from bench.tasks import TASKS, two_circles
from bench.tasks import mnist_files as mnist
from bench.tasks.task import Data, Task
from bench.training import runner, taking_over
from bench.training.run import Training
from bench.training.runner import run_all
from bench.training.strategies import STRATEGIES, parse_start
from bench.training.stream import Stream
from tests.bench.tiny_bench import (
    COUNTED,
    STEPS,
    TINY,
    assert_continues_as_if_not_interrupted,
    comparison,
    quick,  # noqa: F401
    tiny_data,
)


def test_compare_writes_tables_results_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    main(["compare", "two-circles", "--seeds", "2", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() in printed
    for strategy in STRATEGIES.values():
        assert f"| {strategy.label} " in printed
    for name in ("curves.png", "picks.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["machine"]) >= {"cpu", "cores", "threads", "torch", "impsamp_fast", "python"}
    assert results["settings"]["budget"] == {"steps": STEPS, "seconds": None}
    assert results["seeds"] == [0, 1]
    assert [(r["strategy"], r["seed"]) for r in results["runs"]] == [
        (name, seed) for seed in (0, 1) for name in STRATEGIES
    ]
    for run in results["runs"]:
        curve = run["curve"]
        assert {len(values) for values in curve.values()} == {len(curve["step"])}
        assert np.all(np.diff(curve["step"]) > 0)
        assert np.all(np.diff(curve["seconds"]) > 0)
        assert all(0.0 <= value <= 1.0 for value in curve["accuracy"])
        loop = run["strategy"] == "gradient-norm-cdf-loop"
        assert curve["step"][-1] == (1 if loop else STEPS)

    # The figures come from the files alone.
    (tmp_path / "curves.png").unlink()
    main(["figures", str(tmp_path)])
    assert (tmp_path / "curves.png").exists()


def test_start_rules_decide_which_steps_sample_by_importance(tmp_path: Path) -> None:
    runs = run_all(comparison(tmp_path), tiny_data(tmp_path))["runs"]
    steps = {run["strategy"]: run["importance_steps"] for run in runs}
    assert steps["uniform"] == 0
    assert steps["gradient-norm-cdf"] == steps["highest-loss"] == STEPS - 8
    assert steps["gradient-norm-cdf-unbiased"] == STEPS - 8
    assert steps["gradient-norm-cdf-loop"] == 1
    assert steps["kf18"] == 0  # tau begins at 0 and cannot reach the break-even so soon


def test_finished_runs_are_reused_only_with_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["uniform", "gradient-norm-cdf"]
    data = tiny_data(tmp_path)
    first = run_all(comparison(tmp_path, names=names), data)
    assert "taken from" not in capsys.readouterr().out
    (tmp_path / "runs" / "uniform-1.json").unlink()

    trained = []
    run_one = runner.run_one

    def spy(*args: Any) -> dict[str, Any]:
        trained.append((args[2].name, args[3]))
        return run_one(*args)

    monkeypatch.setattr(runner, "run_one", spy)
    second = run_all(comparison(tmp_path, names=names), data)
    assert trained == [("uniform", 1)]
    assert f"3 of 4 runs taken from {tmp_path / 'runs'}\n" in capsys.readouterr().out
    kept = [run for run in first["runs"] if (run["strategy"], run["seed"]) != ("uniform", 1)]
    assert all(run in second["runs"] for run in kept)

    other = replace(comparison(tmp_path, names=names), start="always")
    run_all(other, data)
    assert len(trained) == 1 + 4

    monkeypatch.setattr(machine, "extension_hash", lambda: "of another build")
    run_all(other, data)
    assert len(trained) == 1 + 4 + 4


def test_the_extension_is_known_by_the_bytes_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extension").write_bytes(b"abc")  # the example of FIPS 180-2
    monkeypatch.setattr(impsamp_fast._C, "__file__", str(tmp_path / "extension"))
    assert machine.extension_hash.__wrapped__() == "ba7816bf8f01cfea"


@pytest.mark.filterwarnings("error")
def test_one_evaluation_of_one_strategy_is_drawn_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "two-circles", TINY)
    names = ["--strategies", "gradient-norm-cdf", "--seeds", "1", "--steps", "4"]
    main(["compare", "two-circles", *names, "--out", str(tmp_path)])
    assert (tmp_path / "curves.png").exists()


def test_strategies_say_how_they_weigh_and_when_they_start(tmp_path: Path) -> None:
    names = ["uniform", "gradient-norm-cdf", "gradient-norm-cdf-unbiased", "kf18"]
    strategies = run_all(comparison(tmp_path, names=names), tiny_data(tmp_path))["strategies"]
    assert {name: (s["correction"], s["start"]) for name, s in strategies.items()} == {
        "uniform": ("none", None),
        "gradient-norm-cdf": ("none", "after:8"),
        "gradient-norm-cdf-unbiased": ("unbiased", "after:8"),
        "kf18": ("unbiased", "variance:1.5"),
    }


def test_the_unbiased_strategy_trains_on_the_weighted_mean() -> None:
    data = tiny_data(Path())
    strategy = STRATEGIES["gradient-norm-cdf-unbiased"]
    training = Training(TINY, data, strategy, seed=0, start="always")
    state = training.stream.state_dict()
    x, y, _ = training.stream.next(TINY.large)
    logits = training.model(x).detach()
    training.stream.load_state_dict(state)
    loss = training.picker.loss(training.stream).item()
    # With one more draw of the same seed: the selector's first step draws with the seed itself.
    index, weight, *_ = impsamp_fast.select(logits, y, TINY.mini, seed=0)
    each = F.cross_entropy(logits[index], y[index], reduction="none")
    assert loss == pytest.approx((weight * each).mean().item(), rel=1e-5)


@pytest.mark.parametrize("task", [TINY, COUNTED], ids=["snapshots", "counts"])
def test_an_interrupted_run_continues_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    names = ["uniform", "highest-loss", "gradient-norm-cdf", "kf18"]
    assert_continues_as_if_not_interrupted(tmp_path, monkeypatch, task, names)


def test_counts_add_up_over_seeds(tmp_path: Path) -> None:
    task = replace(COUNTED, load=lambda _: digits(), network=TASKS["mnist"].network)
    parts = replace(comparison(tmp_path, task, ["highest-loss-cdf"]), start="always")
    run_all(parts, task.load(tmp_path))
    with np.load(tmp_path / "pictures.npz") as pictures:
        counts = pictures["highest-loss-cdf/counts"]
        chosen = pictures["highest-loss-cdf/chosen"]
        classes = pictures["highest-loss-cdf/classes"]
    assert counts.sum() == 2 * STEPS * task.mini
    most, least = counts[chosen[:40]], counts[chosen[40:]]
    np.testing.assert_array_equal(most, np.sort(counts)[::-1][:40])
    np.testing.assert_array_equal(least, np.sort(counts)[:40])
    np.testing.assert_array_equal(classes, digits().y[chosen].numpy())


def digits() -> Data:
    """200 pictures of noise with arbitrary classes, in the shape of MNIST."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 1, 28, 28, generator=generator)
    y = torch.randint(10, (200,), generator=generator)
    return Data(x, y, x[:32], y[:32])


def test_two_circles_classes_have_equal_area_and_data_repeat() -> None:
    assert 2 * math.pi * two_circles.RADIUS**2 == pytest.approx(2.0)  # half of the square's 4
    (x1, y1), (x2, y2) = two_circles.CENTRES
    assert math.hypot(x1 - x2, y1 - y2) > 2 * two_circles.RADIUS  # they do not overlap
    assert all(abs(c) + two_circles.RADIUS < 1 for c in (x1, y1, x2, y2))

    count = 1 << 20
    points, classes = two_circles.sample(count, seed=3)
    assert points.abs().max() <= 1
    # Binomial: beyond five standard deviations once in 1.7 million seeds; this one is fixed.
    assert abs(classes.sum().item() - count / 2) < 5 * math.sqrt(count) / 2
    again, _ = two_circles.sample(count, seed=3)
    assert torch.equal(points, again)
    corners = torch.tensor([[0.4, 0.4], [-0.4, -0.4], [0.4, -0.4], [0.99, 0.99]])
    assert two_circles.label(corners).tolist() == [1, 1, 0, 0]


def test_a_stream_gives_each_row_at_most_once_per_epoch() -> None:
    x = torch.arange(100.0)[:, None]
    stream = Stream(Data(x, torch.arange(100), x, torch.arange(100)), seed=0, with_index=True)
    epoch = []
    while stream.position + 16 <= 100:
        rows, y, index = stream.next(16)
        assert torch.equal(rows[:, 0].long(), y)
        assert index is not None
        assert torch.equal(index, y)
        epoch += y.tolist()
    assert len(set(epoch)) == len(epoch) == 96
    stream.next(16)
    assert stream.position <= 31  # starts over, at another offset


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_are_read(tmp_path: Path, compressed: bool) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + values.tobytes()
    path = tmp_path / ("pixels.gz" if compressed else "pixels")
    path.write_bytes(gzip.compress(content) if compressed else content)
    np.testing.assert_array_equal(mnist.read_idx(path), values)


def test_broken_idx_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pixels"
    path.write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 5) + b"1234")
    with pytest.raises(ValueError, match=r"pixels holds 4 values, but its header says \(5,\)"):
        mnist.read_idx(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="not an idx file"):
        mnist.read_idx(path)


def test_missing_mnist_without_torchvision_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(SystemExit, match="--data-root DIR") as stopped:
        main(["compare", "mnist", "--data-root", str(tmp_path)])
    assert str(tmp_path / "MNIST" / "raw") in str(stopped.value)


def test_mnist_is_normalised_and_turned_back_into_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    header = struct.pack(">HBB3I", 0, 8, 3, 3, 28, 28)
    (raw / "t10k-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    labels = struct.pack(">HBBI", 0, 8, 1, 3) + bytes([7, 0, 9])
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    images, classes = mnist.load(tmp_path, "t10k")
    assert images.shape == (3, 1, 28, 28)
    assert classes.tolist() == [7, 0, 9]
    expected = (pixels[1, 5, 7] / 255 - 0.1307) / 0.3081
    assert images[1, 0, 5, 7].item() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(mnist.to_pixels(images), pixels)


def test_networks_have_the_papers_size() -> None:
    for name, weights in (("two-circles", 252), ("mnist", 21_840)):
        network = TASKS[name].network()
        assert sum(parameter.numel() for parameter in network.parameters()) == weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategies", "uniform", "higest-loss"], 'no strategy "higest-loss"; there are unif'),
        (["--start", "ratio:often"], 'start is "ratio:often", expected "always"'),
        (["--start", "never"], 'start is "never"'),
    ],
)
def test_unknown_names_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["compare", "two-circles", *arguments])


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


def made_up_results() -> dict[str, Any]:
    """Two seeds of two strategies; 8 evaluations, one every 10 steps."""

    def run(strategy: str, seed: int, second: float, accuracy: list[float]) -> dict[str, Any]:
        split = {"forward": 1.0, "select": 2.0, "gather": 3.0, "train": 4.0, "other": 0.0}
        return {
            "strategy": strategy,
            "seed": seed,
            "importance_steps": 40,
            "split_us": split | {"step": 10.0},
            "curve": {
                "step": [10 * i for i in range(1, 9)],
                "seconds": [second * i for i in range(1, 9)],
                "accuracy": accuracy,
                "loss": [0.5] * 8,
            },
        }

    late = [0.5, 0.5, 0.5, 0.5, 0.5, 0.72, 0.76, 0.80]  # the last three: 0.76
    early = [0.5, 0.6, 0.7, 0.7, 0.8, 0.9, 0.9, 0.9]  # of three: 0.6, 0.67, 0.73, 0.8, 0.87, 0.9
    lucky = [0.9, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]  # above the target once, never for a window
    return {
        "format": 2,
        "machine": {
            "cpu": "a processor",
            "cores": 2,
            "threads": 2,
            "instruction_set": "AVX2",
            "torch": "2.13.0",
            "python": "3.12",
        },
        "settings": {
            "task": "two-circles",
            "large_batch": 1024,
            "mini_batch": 128,
            "start": "always",
        },
        "seeds": [0, 1],
        "strategies": {
            "uniform": {"label": "uniform", "correction": "none", "start": None},
            "kf18": {"label": "good", "correction": "unbiased", "start": "variance:1.5"},
            "highest-loss": {"label": "bad", "correction": "none", "start": "always"},
        },
        "runs": [
            run("uniform", 0, 1.0, late),
            run("uniform", 1, 3.0, [a - 0.02 for a in late]),
            run("kf18", 0, 1.0, early),
            run("kf18", 1, 2.0, early),
            run("highest-loss", 0, 1.0, early),
            run("highest-loss", 1, 1.0, lucky),
        ],
    }


def test_summary_agrees_with_numbers_worked_out_by_hand() -> None:
    results = made_up_results()
    results["target"] = results_of.target(results, None)
    assert results["target"] == pytest.approx((0.76 + 0.74) / 2)
    assert results_of.target(results, 0.9) == 0.9

    uniform, good, bad = paper_tables.summarise(results)
    assert uniform["accuracy"] == pytest.approx(0.75)
    assert uniform["accuracy_deviation"] == pytest.approx(0.02 / math.sqrt(2))
    # Seed 0 ends at 0.76 and passes 0.75 only then; seed 1 ends at 0.74.
    assert (uniform["reached"], uniform["steps_to_target"]) == (1, 80)
    assert uniform["share_of_uniform"] is None

    assert (good["reached"], good["steps_to_target"]) == (2, 60)
    assert good["seconds_to_target"] == pytest.approx((6 + 12) / 2)
    assert good["share_of_uniform"] == pytest.approx(9 / ((8 + 24) / 2))
    assert good["select_share"] == pytest.approx(0.2)

    assert (bad["reached"], bad["runs"]) == (1, 2)
    assert bad["share_of_uniform"] is None  # a mean over the lucky seed only would flatter it


def test_tables_show_the_summary() -> None:
    results = made_up_results()
    results["target"] = results_of.target(results, None)
    results["summary"] = paper_tables.summarise(results)
    lines = paper_tables.markdown(results).splitlines()
    cells = {
        row[0]: row[1:]
        for row in ([c.strip() for c in line.strip("|").split("|")] for line in lines[3:8])
    }
    assert cells["strategy"][:2] == ["correction", "start rule"]
    assert cells["uniform"][:2] == ["none", "-"]
    settings, outcome = cells["good"][:2], cells["good"][2:]
    assert settings == ["unbiased", "variance:1.5"]
    assert outcome == ["90.00% ± 0.00", "80", "50%", "12.00 s", "60", "9.00 s", "0.56"]
    assert cells["bad"][6:] == ["60 (1 of 2 runs)", "6.00 s (1 of 2 runs)", "-"]
    assert (
        "| good     |       1 |      2 |      3 |     4 |     0 |   10 |          20.0% |" in lines
    )


def test_peers_compute_what_the_operators_compute() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    x, y = torch.randn(20, 3), torch.randint(4, (20,))
    logits = model(x).detach()
    ours = impsamp_fast.row_stats(logits, y)
    loss, norm = peers.eager_row_stats(logits, y)
    torch.testing.assert_close(loss, ours.loss)
    torch.testing.assert_close(norm, ours.grad_norm)
    torch.testing.assert_close(peers.row_loop_grad_norm(model, x, y), ours.grad_norm)
    index, weight, norm, loss = peers.eager_select(logits, y, 7)
    probability = norm[index] / norm.sum()
    torch.testing.assert_close(weight, 1 / (20 * probability))
    torch.testing.assert_close(loss, F.cross_entropy(logits, y, reduction="none"))


def test_ratios_table_divides_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratios, "wait_until_quiet", lambda: None)
    monkeypatch.setattr(ratios, "TURNS", 3)  # fewer have no quartiles within their range
    monkeypatch.setattr(ratios, "TURN_SECONDS", 1e-5)
    monkeypatch.setattr(peers, "compiled", lambda *_: None)
    case = ratios.select_case(16, 3)
    assert (case["K"], case["n"], case["C"]) == (16, 2, 3)
    assert set(case["microseconds"]) == {"impsamp_fast", "plain torch"}
    for times in case["microseconds"].values():
        assert 0 < times["low"] <= times["median"] <= times["high"]

    case["microseconds"] = {"impsamp_fast": {"median": 4.0}, "plain torch": {"median": 5000.0}}
    row = operator_tables.ratios_table({"cases": [case]}).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["select, K=16, n=2, C=3", "4.0 µs", "plain torch", "5.0 ms", "1,250"]


def test_ratios_are_not_measured_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratios, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(ratios, "DISTURBED_SECONDS", 0.0)
    with pytest.raises(SystemExit, match="when the machine is idle"):
        ratios.in_turns({"anything": lambda: None})


def test_readme_parts_are_replaced_between_their_marks() -> None:
    text = "a\n<!-- bench: x -->\nold\n<!-- end of bench: x -->\nb\n"
    assert readme.replace_part(text, "x", "new\n") == text.replace("old", "new")
    with pytest.raises(SystemExit, match="has 0 parts <!-- bench: y -->"):
        readme.replace_part(text, "y", "new\n")


def test_mnist_is_taken_over_without_a_figure_and_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (readme, taking_over):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "committed")
    assert readme.PARTS["mnist"]() == ""

    results = made_up_results()
    results["settings"]["task"] = "mnist"
    results["target"] = results_of.target(results, None)
    results["summary"] = paper_tables.summarise(results)
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
    assert readme.PARTS["mnist"]() == paper_tables.markdown(results)
    for run in json.loads((tmp_path / "committed" / "mnist.json").read_text())["runs"]:
        steps = run["curve"]["step"]
        assert {len(values) for values in run["curve"].values()} == {len(steps)}
        assert 50 <= len(steps) <= 100
        assert steps[-1] == 20 * evaluations
        assert len(set(np.diff(steps))) == 1


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
    assert readme.PARTS["two-circles"]() == paper_tables.markdown(results)
