"""Whole training steps on a GPU: what they take, and how often the host waits for the device."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import impsamp_fast as isf
from bench.operators.gpu.scale import Scale
from bench.operators.gpu.timing import usable
from bench.report.gpu_table import IN_GRAPH, UNIFORM_IN_GRAPH
from bench.report.operator_tables import OURS
from bench.tasks import cifar10, two_circles
from bench.tasks.task import Task

Step = Callable[[], object]


class Training:
    """A task's network with one way to train, on blocks of a pool that is on the device.

    Args:
        task: whose network and sizes.
        pool: x and y, in random order.
        device: where.
        adam: further options of Adam.
    """

    def __init__(
        self, task: Task, pool: tuple[Tensor, Tensor], device: torch.device, **adam: bool
    ) -> None:
        torch.manual_seed(0)
        x, y = (tensor.to(device) for tensor in pool)
        self.task = task
        self.large = itertools.cycle(zip(x.split(task.large), y.split(task.large), strict=True))
        self.mini = itertools.cycle(zip(x.split(task.mini), y.split(task.mini), strict=True))
        self.model = task.network().to(device)
        parameters = self.model.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=task.learning_rate, **adam)

    def selector(self, start: isf.StartRule | None = None) -> isf.Selector:
        return isf.Selector(self.model, self.task.mini, correction="none", start=start, seed=0)

    def uniform(self) -> None:
        """A step as plain torch does it; rows come in random order, so a block is a sample."""
        x, y = next(self.mini)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()

    def on(self, batch: isf.MiniBatch) -> None:
        """A step on rows that were drawn."""
        self.optimizer.zero_grad()
        batch.mean(F.cross_entropy(self.model(batch.x), batch.y, reduction="none")).backward()
        self.optimizer.step()


def on_two_circles(device: torch.device, **adam: bool) -> Training:
    return Training(two_circles.TASK, two_circles.sample(2**16, seed=1), device, **adam)


def on_pictures(device: torch.device) -> Training:
    """CIFAR-10's network on noise, which takes as long as pictures."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2**14, 3, 32, 32, generator=generator)
    y = torch.randint(10, (len(x),), generator=generator)
    return Training(cifar10.TASK, (x, y), device)


def graphed(device: torch.device, start: isf.StartRule | None = None) -> Step:
    training = on_two_circles(device, capturable=device.type == "cuda")
    step = isf.GraphStep(training.selector(start), training.optimizer)
    return lambda: step(*next(training.large))


def eager(training: Training) -> Step:
    selector = training.selector()
    return lambda: training.on(selector(*next(training.large)))


def overlapped(training: Training) -> Step:
    batches = training.selector().batches(training.large, overlap=True)
    return lambda: training.on(next(batches))


def two_circles_cases(scale: Scale) -> dict[str, Any]:
    device = scale.device
    by_selector = "by a Selector, without a graph"
    never = isf.After(10**12)
    ours = {by_selector: eager(on_two_circles(device))}
    if scale.graphs:
        ours = {
            IN_GRAPH: graphed(device),
            **ours,
            UNIFORM_IN_GRAPH: graphed(device, never),
        }
    for step in ours.values():
        for _ in range(10):  # eager steps, then the capture
            step()
    works, missing = usable(
        {
            "eager torch, uniform": on_two_circles(device).uniform,
            "the same, fused Adam": on_two_circles(device, fused=True).uniform,
        }
    )
    return cases_of(scale, two_circles.TASK, "Two Circles", ours, works, missing)


def picture_cases(scale: Scale) -> dict[str, Any]:
    ours = {
        "by a Selector": eager(on_pictures(scale.device)),
        "by a Selector that scores beside the training": overlapped(on_pictures(scale.device)),
    }
    for step in ours.values():
        for _ in range(10):
            step()
    peer = {"eager torch, uniform": on_pictures(scale.device).uniform}
    return cases_of(scale, cifar10.TASK, "CIFAR-10", ours, peer, {})


def cases_of(
    scale: Scale,
    task: Task,
    name: str,
    ours: dict[str, Step],
    peers: dict[str, Step],
    missing: dict[str, str],
) -> dict[str, Any]:
    """Each of our ways to do a step beside all peers."""
    times = scale.timer.in_turns({**ours, **peers})
    beside = {peer: times[peer] for peer in peers}
    return {
        "cases": [
            {
                "name": f"{name} step, K={task.large}, n={task.mini}, {way}",
                "microseconds": {OURS: times[way], **beside},
                "missing": missing,
            }
            for way in ours
        ]
    }


def synchronisations(scale: Scale) -> dict[str, Any]:
    """How often the host waits for the GPU in so many steps, as torch's debug mode counts."""
    found = {}
    steps = {
        "Selector": eager(on_two_circles(scale.device)),
        "GraphStep": graphed(scale.device),
        "eager torch": on_two_circles(scale.device).uniform,
    }
    for name, step in steps.items():
        for _ in range(10):
            step()
        found[name] = waits_in(step, scale)
    return {"steps": scale.steps, "synchronisations": found}


def waits_in(step: Step, scale: Scale) -> int:
    on_gpu = scale.device.type == "cuda"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if on_gpu:
            torch.cuda.synchronize(scale.device)
            torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(scale.steps):
                step()
        finally:
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in caught)
