"""The files of MNIST and Fashion-MNIST as tensors in memory: idx files, gzipped or not."""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.tasks.torchvision_datasets import torchvision_datasets

# The idx format (described on the MNIST page): two zero bytes, a type, the number of dimensions,
# the sizes as big-endian 32-bit integers, then the values. MNIST uses unsigned bytes only.
UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class Files:
    """A data set in files of that format."""

    name: str  # of its folder, and of torchvision's class
    # Of the training images, pixels in [0, 1].
    mean: float
    deviation: float


MNIST = Files("MNIST", 0.1307, 0.3081)
FASHION_MNIST = Files("FashionMNIST", 0.2860, 0.3530)


def read_idx(path: Path) -> np.ndarray:
    """The array of an idx file of unsigned bytes; ValueError if it is not one."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        content = file.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise ValueError(f"{path} is not an idx file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) - start != math.prod(shape):
        found = len(content) - start
        raise ValueError(f"{path} holds {found} values, but its header says {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def find(root: Path, stem: str, files: Files) -> Path:
    """The file of that stem in root/NAME/raw, plain or gzipped, downloaded if it is absent."""
    folder = root / files.name / "raw"
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.exists():
            return path
    download(root, folder, files)
    return folder / stem


def download(root: Path, folder: Path, files: Files) -> None:
    datasets = torchvision_datasets(
        f"{files.name} is not in {folder}",
        "Put the four idx files there, or name another folder with --data-root DIR (files in "
        f"DIR/{files.name}/raw).",
    )
    getattr(datasets, files.name)(str(root), download=True)


def load(root: Path, split: str, files: Files = MNIST) -> tuple[Tensor, Tensor]:
    """Normalised images [N, 1, 28, 28] float32 and labels [N] int64; split is "train" or "t10k"."""
    pixels = read_idx(find(root, f"{split}-images-idx3-ubyte", files))
    labels = read_idx(find(root, f"{split}-labels-idx1-ubyte", files))
    images = torch.from_numpy(pixels.astype(np.float32)).div_(255.0)
    images = images.sub_(files.mean).div_(files.deviation)
    return images.unsqueeze_(1), torch.from_numpy(labels.astype(np.int64))


def to_pixels(images: Tensor, files: Files = MNIST) -> np.ndarray:
    """Back from normalised images [N, 1, 28, 28] to bytes [N, 28, 28], for pictures."""
    pixels = images.squeeze(1).mul(files.deviation).add(files.mean).mul(255.0)
    return pixels.round().byte().numpy()
