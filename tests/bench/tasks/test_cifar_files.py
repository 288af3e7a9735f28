"""CIFAR-10 and CIFAR-100 as folders of pictures: read, refused, missing."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import main
from bench.tasks import cifar10, cifar_files
from bench.tasks.cifar_files import CIFAR10, CIFAR100, Cifar


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(CIFAR10, tmp_path)
    return tmp_path


def make(cifar: Cifar, root: Path) -> None:
    """Two training and one test picture of each class, of one colour each."""
    for split, count in (("train", 2), ("test", 1)):
        for label, name in enumerate(cifar.classes):
            folder = root / cifar.name / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                save(folder / f"{i:04}.jpg", (20 * label % 256, 100 + i, 7))


def save(path: Path, colour: tuple[int, int, int], side: int = 32) -> None:
    Image.new("RGB", (side, side), colour).save(path, quality=100)


def test_classes_take_turns(root: Path) -> None:
    data = cifar10.TASK.load(root)
    assert data.x.shape == (20, 3, 32, 32)
    assert data.test_x.shape == (10, 3, 32, 32)
    assert data.y.tolist() == 2 * list(range(10))
    assert data.test_y.tolist() == list(range(10))
    assert (data.source, data.classes) == ("JPEG", 10)
    pixels = cifar10.TASK.to_pixels(data.x)
    for i, (second, label) in enumerate((j, label) for j in range(2) for label in range(10)):
        colour = np.array([20 * label, 100 + second, 7])
        assert np.abs(pixels[i].astype(int) - colour).max() <= 3, i  # what JPEG leaves of it
    expected = (pixels[3, 5, 7, 0] / 255 - 0.4914) / 0.2470
    assert data.x[3, 0, 5, 7].item() == pytest.approx(expected, rel=1e-4)
    assert cifar10.TASK.network()(data.x).shape == (20, 10)


def test_a_hundred_classes_are_read_alike(tmp_path: Path) -> None:
    make(CIFAR100, tmp_path)
    data = cifar10.TASK_OF_100.load(tmp_path)
    assert data.y.tolist() == 2 * list(range(100))
    assert (data.source, data.classes) == ("JPEG", 100)


def test_what_is_not_such_a_folder_is_refused(root: Path) -> None:
    save(root / "CIFAR10" / "test" / "cat" / "0001.jpg", (0, 0, 0), side=16)
    with pytest.raises(ValueError, match=r"0001.jpg is not a picture of 32 x 32"):
        cifar10.TASK.load(root)
    for path in (root / "CIFAR10" / "train" / "bird").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"bird has no pictures"):
        cifar10.TASK.load(root)


def test_without_torchvision_it_says_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(SystemExit, match="--data-root DIR") as stopped:
        main(["compare", "cifar10", "--data-root", str(tmp_path)])
    assert str(tmp_path / "CIFAR10" / "train") in str(stopped.value)


def test_what_torchvision_downloads_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)

    class Datasets:
        class CIFAR10:
            def __init__(self, root: str, train: bool, download: bool) -> None:
                assert (root, download) == (str(tmp_path), True)
                self.data, self.targets = pixels, [3, 1, 9, int(train)]

    monkeypatch.setattr(cifar_files, "torchvision_datasets", lambda *_: Datasets)
    data = cifar10.TASK.load(tmp_path)
    assert (data.y.tolist(), data.test_y.tolist()) == ([3, 1, 9, 1], [3, 1, 9, 0])
    assert data.source == ""
    np.testing.assert_array_equal(cifar10.TASK.to_pixels(data.x), pixels)
