"""The files of MNIST: read, refused, missing."""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.tasks import mnist_files


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_are_read(tmp_path: Path, compressed: bool) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + values.tobytes()
    path = tmp_path / ("pixels.gz" if compressed else "pixels")
    path.write_bytes(gzip.compress(content) if compressed else content)
    np.testing.assert_array_equal(mnist_files.read_idx(path), values)


def test_broken_idx_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pixels"
    path.write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 5) + b"1234")
    with pytest.raises(ValueError, match=r"pixels holds 4 values, but its header says \(5,\)"):
        mnist_files.read_idx(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="not an idx file"):
        mnist_files.read_idx(path)


def test_missing_mnist_without_torchvision_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
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
    images, classes = mnist_files.load(tmp_path, "t10k")
    assert images.shape == (3, 1, 28, 28)
    assert classes.tolist() == [7, 0, 9]
    expected = (pixels[1, 5, 7] / 255 - 0.1307) / 0.3081
    assert images[1, 0, 5, 7].item() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(mnist_files.to_pixels(images), pixels)
