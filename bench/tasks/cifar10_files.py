"""CIFAR-10 as tensors in memory: from a folder of pictures, or from what torchvision downloads."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.tasks.torchvision_datasets import torchvision_datasets

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# Of the training images' channels, pixels in [0, 1].
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
DEVIATION = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
SIDE = 32


def source(root: Path) -> str:
    """What results say of the pictures that ``load`` takes."""
    return "JPEG" if folder_of(root, "train").is_dir() else ""


def load(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Normalised images [N, 3, 32, 32] float32 and labels [N] int64; split is "train" or "test".

    They are the files root/CIFAR10/SPLIT/CLASS/*.jpg where there are such, else torchvision's.
    """
    folder = folder_of(root, split)
    pixels, labels = read_folder(folder) if folder.is_dir() else downloaded(root, split, folder)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous().div_(255.0)
    return images.sub_(MEAN).div_(DEVIATION), torch.from_numpy(labels)


def folder_of(root: Path, split: str) -> Path:
    return root / "CIFAR10" / split


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Bytes [N, 32, 32, 3] and labels [N] of the pictures, class by class in the files' order."""
    pictures, labels = [], []
    for label, name in enumerate(CLASSES):
        paths = sorted((folder / name).glob("*.jpg"))
        if not paths:
            raise ValueError(f"{folder / name} has no pictures (*.jpg)")
        for path in paths:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            if pixels.shape != (SIDE, SIDE, 3):
                raise ValueError(f"{path} is not a picture of {SIDE} x {SIDE} pixels")
            pictures.append(pixels)
        labels += [label] * len(paths)
    return np.stack(pictures), np.asarray(labels, np.int64)


def downloaded(root: Path, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    datasets = torchvision_datasets(
        f"CIFAR-10 is not in {folder}",
        "Put its pictures there as CLASS/*.jpg, or name another folder with --data-root DIR "
        "(files in DIR/CIFAR10/train and DIR/CIFAR10/test).",
    )
    made = datasets.CIFAR10(str(root), train=split == "train", download=True)
    return made.data, np.asarray(made.targets, np.int64)


def to_pixels(images: Tensor) -> np.ndarray:
    """Back from normalised images [N, 3, 32, 32] to bytes [N, 32, 32, 3], for pictures."""
    pixels = images.mul(DEVIATION).add(MEAN).mul(255.0).round().byte()
    return pixels.permute(0, 2, 3, 1).numpy()
