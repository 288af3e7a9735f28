"""MNIST with a small convolutional network."""

from pathlib import Path

import torch
from torch import nn

from bench.tasks import mnist_files
from bench.tasks.task import Budget, Data, Task
from impsamp_fast import ScoringPass


def network() -> nn.Module:
    """Two 5x5 convolutions (10, 20), each max-pooled by 2, then 320-50-10: 21,840 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(320, 50),
        nn.ReLU(inplace=True),
        nn.Linear(50, 10),
    )


def load(root: Path) -> Data:
    return Data(*mnist_files.load(root, "train"), *mnist_files.load(root, "t10k"))


TASK = Task(
    name="mnist",
    load=load,
    network=network,
    learning_rate=0.01,
    start="ratio:0.42",
    budget=Budget(seconds=7.0),
    evaluate_every=20,
    epoch_pool=10_000,
    to_pixels=mnist_files.to_pixels,
    count_picks=True,
    fast_scoring=ScoringPass(compile=True, memory_format=torch.channels_last),
)
