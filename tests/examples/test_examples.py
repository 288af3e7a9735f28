"""The scripts of examples/ run as they stand, on little data."""

import os
import random
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


# ---------------------------------------------------------------------------------------- mnist.py


def write_idx(path: Path, values: torch.Tensor) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(bytes([0, 0, 8, values.dim()]) + sizes + values.numpy().tobytes())


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Ten patterns with noise, in the files of MNIST."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    patterns = torch.randint(256, (10, 28, 28))
    for split, size in ("train", 2500), ("t10k", 300):
        labels = torch.randint(10, (size,))
        images = (patterns[labels] + torch.randint(-99, 99, (size, 28, 28))).clamp(0, 255)
        write_idx(folder / f"{split}-images-idx3-ubyte", images.byte())
        write_idx(folder / f"{split}-labels-idx1-ubyte", labels.byte())
    return tmp_path


def test_mnist_compares_both(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("mnist")["main"](["--data", str(digits), "--seconds", "2"])
    head, uniform, importance, *report = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["rate", "steps"]
    for row, name in (uniform, "uniform"), (importance, "importance"):
        assert row.split()[0] == name
        accuracies = [float(value) for value in re.findall(r"([\d.]+)%", row)]
        assert len(accuracies) == 4
        assert accuracies[-1] > 50  # always guessing one digit: 10
    assert "steps timed" in report[0]


# ------------------------------------------------------------------------------------ fine_tune.py


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Lines of which one word tells the label."""
    pick = random.Random(0)
    others = ["the", "film", "a", "plot", "of"]
    telling = {"good": ["great", "lovely", "superb"], "bad": ["dull", "poor", "awful"]}
    lines = []
    for _ in range(900):
        label = pick.choice(["good", "bad"])
        words = [pick.choice(telling[label]), *pick.choices(others, k=4)]
        lines.append(f"{label}\t{' '.join(pick.sample(words, len(words)))}\n")
    path = tmp_path / "reviews.tsv"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def fine_tune(reviews: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the script with a checkpoint every 20 steps; returns the last one."""

    def run(name: str, *options: str) -> dict[str, Any]:
        checkpoint = tmp_path / name
        main = example("fine_tune")["main"]
        main.__globals__["EVERY"] = 20
        main([str(reviews), "--steps", "60", "--checkpoint", str(checkpoint), *options])
        return torch.load(checkpoint)

    return run


def test_fine_tuning_learns_and_tells_whether_scoring_pays(
    fine_tune: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    fine_tune("checkpoint", "--rate", "0.05")
    told = capsys.readouterr().out
    assert float(told.partition("%")[0]) > 90  # always guessing one label: 50
    assert "steps timed" in told


def test_fine_tuning_goes_on_as_if_it_had_never_stopped(
    fine_tune: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fine_tune("whole", "--always")
    save = torch.save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        fine_tune("stopped", "--always")
    monkeypatch.setattr(torch, "save", save)
    torch.manual_seed(1)
    found = fine_tune("stopped", "--always")
    assert found["step"] == expected["step"] == 60
    for part in ("model", "optimizer", "selector", "random"):
        torch.testing.assert_close(found[part], expected[part], rtol=0, atol=0)


def test_fine_tuning_tells_of_too_few_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "few.tsv"
    file.write_text("good\tgreat\nbad\tdull\n")
    with pytest.raises(SystemExit):
        example("fine_tune")["main"]([str(file)])
    assert "few.tsv has 2 lines to train on, expected at least 256" in capsys.readouterr().err


def test_fine_tuning_takes_a_model_of_transformers(
    fine_tune: Callable[..., dict[str, Any]], reviews: Path, tmp_path: Path
) -> None:
    import transformers

    folder = tmp_path / "pretrained"
    words = sorted(set(reviews.read_text().split()))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join([*special, *words]))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(special) + len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    state = fine_tune("checkpoint", "--always", "--model", str(folder))
    body, head = (group["max_lr"] for group in state["optimizer"]["param_groups"])
    assert 10 * body == pytest.approx(head)
    assert any(name.startswith("bert.") for name in state["model"])


# ------------------------------------------------------------------------------------------ ddp.py


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no torch.distributed")
@pytest.mark.parametrize("options", [[], ["--all-ranks"]], ids=["own rows", "rows of all ranks"])
def test_ddp_learns_on_two_ranks(options: list[str]) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(EXAMPLES / "ddp.py"), "--samples", "50000", "--epochs", "4", *options]
    result = subprocess.run(
        [sys.executable, *torchrun, *script],
        cwd=EXAMPLES.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    accuracies = [float(value) for value in re.findall(r"([\d.]+)% correct", result.stdout)]
    assert len(accuracies) == 4
    assert accuracies[-1] > 75  # always guessing outside: 62
