"""CIFAR-10 and CIFAR-100 in memory: a folder of pictures, or what torchvision downloads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.tasks.task import Data
from bench.tasks.torchvision_datasets import torchvision_datasets

SIDE = 32


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets."""

    name: str  # of its folder, and of torchvision's class
    names: str  # of the classes, in the labels' order
    # Of the training images' channels, pixels in [0, 1].
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.names.split())

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, [3, 1, 1] each."""
        return torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.deviation).view(3, 1, 1)


CIFAR10 = Cifar(
    "CIFAR10",
    "airplane automobile bird cat deer dog frog horse ship truck",
    mean=(0.4914, 0.4822, 0.4465),
    deviation=(0.2470, 0.2435, 0.2616),
)
CIFAR100 = Cifar(
    "CIFAR100",
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch "
    "crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo "
    "keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse "
    "mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy "
    "porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television "
    "tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm",
    mean=(0.5071, 0.4865, 0.4409),
    deviation=(0.2673, 0.2564, 0.2762),
)


def load(cifar: Cifar, root: Path) -> Data:
    """Training and test set, normalised.

    They are the files root/NAME/SPLIT/CLASS/*.jpg where there are such, else torchvision's.
    """
    train, test = (load_split(cifar, root, split) for split in ("train", "test"))
    source = "JPEG" if (root / cifar.name / "train").is_dir() else ""
    return Data(*train, *test, source=source)


def load_split(cifar: Cifar, root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images [N, 3, 32, 32] float32 and labels [N] int64; split is "train" or "test"."""
    folder = root / cifar.name / split
    read = read_folder(cifar, folder) if folder.is_dir() else downloaded(cifar, root, split)
    pixels, labels = read
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous().div_(255.0)
    mean, deviation = cifar.statistics()
    return images.sub_(mean).div_(deviation), torch.from_numpy(labels)


def read_folder(cifar: Cifar, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Bytes [N, 32, 32, 3] and labels [N] of the pictures, each class in the files' order.

    The classes take turns: a part of the data set from its beginning has all of them.
    """
    numbered = []
    for label, name in enumerate(cifar.classes):
        paths = sorted((folder / name).glob("*.jpg"))
        if not paths:
            raise ValueError(f"{folder / name} has no pictures (*.jpg)")
        numbered += [(i, label, path) for i, path in enumerate(paths)]
    numbered.sort()
    pictures = [read_picture(path) for *_, path in numbered]
    return np.stack(pictures), np.asarray([label for _, label, _ in numbered], np.int64)


def read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    if pixels.shape != (SIDE, SIDE, 3):
        raise ValueError(f"{path} is not a picture of {SIDE} x {SIDE} pixels")
    return pixels


def downloaded(cifar: Cifar, root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    name = cifar.name
    datasets = torchvision_datasets(
        f"{name} is not in {root / name / split}",
        "Put its pictures there as CLASS/*.jpg, or name another folder with --data-root DIR "
        f"(files in DIR/{name}/train and DIR/{name}/test).",
    )
    made = getattr(datasets, name)(str(root), train=split == "train", download=True)
    return made.data, np.asarray(made.targets, np.int64)


def to_pixels(cifar: Cifar, images: Tensor) -> np.ndarray:
    """Back from normalised images [N, 3, 32, 32] to bytes [N, 32, 32, 3], for pictures."""
    mean, deviation = cifar.statistics()
    pixels = images.mul(deviation).add(mean).mul(255.0).round().byte()
    return pixels.permute(0, 2, 3, 1).numpy()
