"""PatchCamelyon: its files, and its network with dropout in a comparison."""

import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from bench.__main__ import main
from bench.tasks.patch_camelyon import TASK
from bench.training.run import Training
from bench.training.strategies import STRATEGIES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """24 training and 8 test patches of noise, with the labels 0 and 1 by turns."""
    (tmp_path / "pcam").mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 8)):
        stem = tmp_path / "pcam" / f"camelyonpatch_level_2_split_{split}"
        with h5py.File(f"{stem}_x.h5", "w") as file:
            file["x"] = generator.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
        with h5py.File(f"{stem}_y.h5", "w") as file:
            file["y"] = (np.arange(count, dtype=np.uint8) % 2).reshape(-1, 1, 1, 1)
    return tmp_path


def test_patches_are_read(root: Path) -> None:
    data = TASK.load(root)
    assert (data.x.shape, data.test_x.shape) == ((24, 3, 96, 96), (8, 3, 96, 96))
    assert data.y.tolist() == [0, 1] * 12
    with h5py.File(root / "pcam" / "camelyonpatch_level_2_split_train_x.h5") as file:
        np.testing.assert_array_equal(TASK.to_pixels(data.x), file["x"][:])
    first = TASK.network()[0](data.x[:1])
    assert first[0, 2, 5, 7] == pytest.approx(data.x[0, 2, 5, 7].item() / 127.5 - 1, abs=1e-6)


def test_patches_are_trained_on_with_dropout_and_tested_without(root: Path) -> None:
    task = replace(TASK, large=12, mini=4)
    training = Training(task, task.load(root), STRATEGIES["highest-loss-cdf"], 0, "always")
    training.step()
    assert torch.equal(training.test_logits(), training.test_logits())
    assert training.model.training


def test_without_torchvision_it_says_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(SystemExit, match="--data-root DIR") as stopped:
        main(["compare", "patch-camelyon", "--data-root", str(tmp_path)])
    assert str(tmp_path / "pcam") in str(stopped.value)
