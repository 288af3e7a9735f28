"""The files of MNIST as tensors in memory: idx files, gzipped or not."""

import gzip
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.tasks.torchvision_datasets import torchvision_datasets

MEAN, DEVIATION = 0.1307, 0.3081  # of the training images, pixels in [0, 1]
# The idx format (described on the MNIST page): two zero bytes, a type, the number of dimensions,
# the sizes as big-endian 32-bit integers, then the values. MNIST uses unsigned bytes only.
UNSIGNED_BYTE = 0x08


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


def find(root: Path, stem: str) -> Path:
    """The file of that stem in root/MNIST/raw, plain or gzipped, downloaded if it is absent."""
    folder = root / "MNIST" / "raw"
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.exists():
            return path
    download(root, folder)
    return folder / stem


def download(root: Path, folder: Path) -> None:
    datasets = torchvision_datasets(
        f"MNIST is not in {folder}",
        "Put the four idx files there, or name another folder with --data-root DIR (files in "
        "DIR/MNIST/raw).",
    )
    datasets.MNIST(str(root), download=True)


def load(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Normalised images [N, 1, 28, 28] float32 and labels [N] int64; split is "train" or "t10k"."""
    pixels = read_idx(find(root, f"{split}-images-idx3-ubyte"))
    labels = read_idx(find(root, f"{split}-labels-idx1-ubyte"))
    images = torch.from_numpy(pixels.astype(np.float32)).div_(255.0).sub_(MEAN).div_(DEVIATION)
    return images.unsqueeze_(1), torch.from_numpy(labels.astype(np.int64))


def to_pixels(images: Tensor) -> np.ndarray:
    """Back from normalised images [N, 1, 28, 28] to bytes [N, 28, 28], for pictures."""
    return images.squeeze(1).mul(DEVIATION).add(MEAN).mul(255.0).round().byte().numpy()
