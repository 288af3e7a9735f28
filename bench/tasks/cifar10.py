"""CIFAR-10 and CIFAR-100 with a small convolutional network."""

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from bench.tasks.cifar_files import CIFAR10, CIFAR100, load, to_pixels
from bench.tasks.task import Budget, Task
from impsamp_fast import ScoringPass


def network(classes: int = 10) -> nn.Module:
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
        nn.Linear(64, classes),
    )


TASK = Task(
    name="cifar10",
    load=partial(load, CIFAR10),
    network=network,
    learning_rate=0.001,
    start="ratio:0.5",
    budget=Budget(seconds=60.0),
    evaluate_every=50,
    epoch_pool=10_000,
    to_pixels=partial(to_pixels, CIFAR10),
    class_names=CIFAR10.classes,
    count_picks=True,
    fast_scoring=ScoringPass(compile=True, memory_format=torch.channels_last),
)

# Not of the paper.
TASK_OF_100 = replace(
    TASK,
    name="cifar100",
    load=partial(load, CIFAR100),
    network=partial(network, 100),
    to_pixels=partial(to_pixels, CIFAR100),
    class_names=CIFAR100.classes,
)
