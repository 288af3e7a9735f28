"""Trainings by hand and by a GraphStep, on any device."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from impsamp_fast import PickCounts, Selector

K, N, CLASSES, STEPS = 256, 32, 3, 30


def batches(
    device: torch.device, steps: int = STEPS, rows: int = K
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Large batches of x [K, 5], y [K] and the samples' numbers [K]."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(steps):
        x = torch.randn(rows, 5, generator=generator)
        number = torch.randperm(1000, generator=generator)[:rows]
        y = (x[:, :CLASSES] + 0.3 * torch.randn(rows, CLASSES, generator=generator)).argmax(-1)
        made.append((x.to(device), y.to(device), number.to(device)))
    return made


def network(device: torch.device, *more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 20), *more, nn.ReLU(), nn.Linear(20, CLASSES)).to(device)


OPTIMIZERS: dict[str, Callable[[nn.Module, bool], torch.optim.Optimizer]] = {
    "SGD": lambda model, on_gpu: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "Adam": lambda model, on_gpu: torch.optim.Adam(model.parameters(), lr=0.01, capturable=on_gpu),
    "AdamW": lambda model, on_gpu: torch.optim.AdamW(
        model.parameters(), lr=0.01, capturable=on_gpu
    ),
}


class Run:
    """A model, its optimiser and a selector that counts."""

    def __init__(self, device: torch.device, optimizer: str = "Adam", **options: Any) -> None:
        self.model = network(device)
        self.optimizer = OPTIMIZERS[optimizer](self.model, device.type == "cuda")
        options = {"seed": 5, "counts": PickCounts(1000)} | options
        self.selector = Selector(self.model, N, **options)

    def by_hand(self, x: Tensor, y: Tensor, number: Tensor) -> float:
        batch = self.selector(x, y, number)
        self.optimizer.zero_grad()
        losses = F.cross_entropy(
            self.model(batch.x),
            batch.y,
            weight=self.selector.class_weight,
            ignore_index=self.selector.ignore_index,
            label_smoothing=self.selector.label_smoothing,
            reduction="none",
        )
        loss = batch.mean(losses)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def graph_step(self, **options: Any) -> isf.GraphStep:
        return isf.GraphStep(self.selector, self.optimizer, **options)


def assert_same_training(found: Run, expected: Run) -> None:
    torch.testing.assert_close(
        list(found.model.parameters()), list(expected.model.parameters()), rtol=1e-4, atol=1e-5
    )
    assert found.selector.counts is not None
    assert expected.selector.counts is not None
    assert torch.equal(found.selector.counts.counts, expected.selector.counts.counts)
