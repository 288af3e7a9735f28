"""PatchCamelyon: does the middle of a patch of lymph node tissue show a tumour?"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.tasks.task import Budget, Data, Task
from bench.tasks.torchvision_datasets import torchvision_datasets
from impsamp_fast import ScoringPass


class FromBytes(nn.Module):
    """Pixels in [-1, 1] of bytes: as float32 the training set would take 29 GB."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 127.5 - 1.0


def network() -> nn.Module:
    """Two 5x5 convolutions (10, 20), each max-pooled by 2, then 8820-50-2: 446,932 weights."""
    return nn.Sequential(
        FromBytes(),
        nn.Conv2d(3, 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(10, 20, 5),
        nn.Dropout2d(),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(8820, 50),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(50, 2),
    )


def load(root: Path) -> Data:
    return Data(*load_split(root, "train"), *load_split(root, "test"))


def load_split(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images [N, 3, 96, 96] uint8 and labels [N] int64; split is "train" or "test".

    They are the files root/pcam/camelyonpatch_level_2_split_SPLIT_{x,y}.h5, which torchvision
    downloads if they are absent.
    """
    import h5py  # only here: no other task needs it

    stem = root / "pcam" / f"camelyonpatch_level_2_split_{split}"
    paths = {name: Path(f"{stem}_{name}.h5") for name in ("x", "y")}
    if not all(path.exists() for path in paths.values()):
        datasets = torchvision_datasets(
            f"PatchCamelyon is not in {stem.parent}",
            "Put the HDF5 files of https://github.com/basveeling/pcam there, unzipped, or name "
            "another folder with --data-root DIR (files in DIR/pcam).",
        )
        datasets.PCAM(str(root), split=split, download=True)
    with h5py.File(paths["x"]) as x, h5py.File(paths["y"]) as y:
        images, labels = x["x"][:], y["y"][:]
    patches = torch.from_numpy(images).permute(0, 3, 1, 2)
    return patches, torch.from_numpy(labels.astype(np.int64)).flatten()


def to_pixels(images: Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).numpy()


TASK = Task(
    name="patch-camelyon",
    load=load,
    network=network,
    learning_rate=0.001,
    start="ratio:0.74",
    budget=Budget(seconds=400.0),
    evaluate_every=50,
    epoch_pool=10_000,
    to_pixels=to_pixels,
    class_names=("healthy", "tumour"),
    count_picks=True,
    fast_scoring=ScoringPass(compile=True, memory_format=torch.channels_last),
)
