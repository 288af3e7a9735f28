"""CIFAR-10 with a small convolutional network."""

from pathlib import Path

import torch
from torch import nn

from bench.tasks import cifar10_files
from bench.tasks.task import Budget, Data, Task
from impsamp_fast import ScoringPass


def network() -> nn.Module:
    """Three 3x3 convolutions (32, 64, 128), each max-pooled by 2, then 512-64-10: 126,730 weights.

    The paper counts 126,794: its code declares a batch norm of 32 channels and does not use it.
    """
    return nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(inplace=True),
        nn.Linear(64, 10),
    )


def load(root: Path) -> Data:
    train, test = (cifar10_files.load(root, split) for split in ("train", "test"))
    return Data(*train, *test, source=cifar10_files.source(root))


TASK = Task(
    name="cifar10",
    load=load,
    network=network,
    learning_rate=0.001,
    start="ratio:0.5",
    budget=Budget(seconds=60.0),
    evaluate_every=50,
    epoch_pool=10_000,
    to_pixels=cifar10_files.to_pixels,
    class_names=cifar10_files.CLASSES,
    count_picks=True,
    fast_scoring=ScoringPass(compile=True, memory_format=torch.channels_last),
)
