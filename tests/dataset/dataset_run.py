"""A training on the data set level whose steps show the same in any process.

Run by itself it goes on with saved samplers: ``python -m tests.dataset.dataset_run STATES PICKS``.
"""

import inspect
import sys
from typing import Any

import torch
from torch import Tensor

from impsamp_fast import strategies

UNTAUGHT = "rs2"  # which learns nothing
SIZE, CLASSES, EPOCHS, N = 300, 3, 6, 16
# Short warm-ups, and several blocks and mini-batches in an epoch.
SHORT = {"warm_up": 1, "block": 70, "least": 10, "share": 0.5}
TARGET = torch.arange(SIZE) % CLASSES


def make(name: str, seed: int | None = 5, **parameters: Any) -> Any:
    """The strategy for the data set of this file, with the parameters that it has of SHORT."""
    taken = inspect.signature(strategies.get(name).make).parameters
    chosen = {key: value for key, value in (SHORT | parameters).items() if key in taken}
    return strategies.make(name, SIZE, epochs=EPOCHS, classes=CLASSES, seed=seed, **chosen)


def logits_of(epoch: int, index: Tensor) -> Tensor:
    """What the model says of samples in an epoch; by and by, and for some never, the truth."""
    generator = torch.Generator().manual_seed(epoch)
    noise = torch.randn(SIZE, CLASSES, generator=generator)
    truth = torch.nn.functional.one_hot(TARGET, CLASSES) * torch.linspace(0, 1, SIZE).unsqueeze(1)
    return (noise + epoch * truth)[index]


def show(sampler: Any, epoch: int, index: Tensor) -> None:
    """Tells the sampler of a training step."""
    logits, target = logits_of(epoch, index), TARGET[index]
    losses = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    sampler.update(index, logits, target, losses=losses)


def train(sampler: Any, first: int, last: int, steps: int | None = None) -> list[list[int]]:
    """The mini-batches of epochs first, ..., last - 1, and of the last no more than ``steps``."""
    picks = []
    for epoch in range(first, last):
        sampler.set_epoch(epoch)
        for step, batch in enumerate(sampler.batches(N)):
            index = torch.tensor(batch)
            picks.append([*batch, *sampler.weight(index).tolist()])
            show(sampler, epoch, index)
            if epoch == last - 1 and step + 1 == steps:
                return picks
    return picks


if __name__ == "__main__":
    torch.manual_seed(123)  # another process has another random state
    picks = {}
    for (name, stop), state in torch.load(sys.argv[1], weights_only=True).items():
        sampler = make(name, seed=None)
        sampler.load_state_dict(state["sampler"])
        picks[name, stop] = train(sampler, state["first"], EPOCHS)
    torch.save(picks, sys.argv[2])
