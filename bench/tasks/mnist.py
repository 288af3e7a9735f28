"""MNIST and Fashion-MNIST with a small convolutional network."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from bench.tasks import mnist_files
from bench.tasks.mnist_files import FASHION_MNIST, MNIST, Files
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


def load(files: Files, root: Path) -> Data:
    return Data(*mnist_files.load(root, "train", files), *mnist_files.load(root, "t10k", files))


TASK = Task(
    name="mnist",
    load=partial(load, MNIST),
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

# Not of the paper.
FASHION = replace(
    TASK,
    name="fashion-mnist",
    load=partial(load, FASHION_MNIST),
    to_pixels=partial(mnist_files.to_pixels, files=FASHION_MNIST),
    class_names=(
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
)
