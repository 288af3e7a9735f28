"""Whole training steps on a GPU: what they take, and how often the host waits for the device."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

import impsamp_fast as isf
from bench.operators.gpu.scale import Scale
from bench.operators.gpu.timing import usable
from bench.report.operator_tables import OURS
from bench.tasks import two_circles

TASK = two_circles.TASK

Step = Callable[[], object]


class TwoCircles:
    """Two Circles with one way to train, on blocks of a pool that is on the device."""

    def __init__(self, device: torch.device, **adam: bool) -> None:
        torch.manual_seed(0)
        x, y = (tensor.to(device) for tensor in two_circles.sample(2**16, seed=1))
        large, mini = TASK.large, TASK.mini
        self.large = itertools.cycle(zip(x.split(large), y.split(large), strict=True))
        self.mini = itertools.cycle(zip(x.split(mini), y.split(mini), strict=True))
        self.model = two_circles.network().to(device)
        parameters = self.model.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=TASK.learning_rate, **adam)

    def selector(self, start: isf.StartRule | None = None) -> isf.Selector:
        return isf.Selector(self.model, TASK.mini, correction="none", start=start, seed=0)

    def uniform(self) -> None:
        """A step as plain torch does it; rows come in random order, so a block is a sample."""
        x, y = next(self.mini)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()

    def importance(self, selector: isf.Selector) -> None:
        batch = selector(*next(self.large))
        self.optimizer.zero_grad()
        batch.mean(F.cross_entropy(self.model(batch.x), batch.y, reduction="none")).backward()
        self.optimizer.step()


def graphed(device: torch.device, start: isf.StartRule | None = None) -> Step:
    training = TwoCircles(device, capturable=device.type == "cuda")
    step = isf.GraphStep(training.selector(start), training.optimizer)
    return lambda: step(*next(training.large))


def eager(device: torch.device) -> Step:
    training = TwoCircles(device)
    selector = training.selector()
    return lambda: training.importance(selector)


def plain(device: torch.device, **adam: bool) -> Step:
    return TwoCircles(device, **adam).uniform


def two_circles_cases(scale: Scale) -> dict[str, Any]:
    device = scale.device
    in_graph, by_selector = "in one graph", "by a Selector, without a graph"
    never = isf.After(10**12)
    ours = {by_selector: eager(device)}
    if scale.graphs:
        ours = {
            in_graph: graphed(device),
            **ours,
            "uniform in one graph": graphed(device, never),
        }
    for step in ours.values():
        for _ in range(10):  # eager steps, then the capture
            step()
    works, missing = usable(
        {"eager torch, uniform": plain(device), "the same, fused Adam": plain(device, fused=True)}
    )
    times = scale.timer.in_turns({**ours, **works})
    prefix = f"Two Circles step, K={TASK.large}, n={TASK.mini}"
    cases = []
    for name in ours:
        beside = {peer: times[peer] for peer in works}
        cases.append(
            {
                "name": f"{prefix}, {name}",
                "microseconds": {OURS: times[name], **beside},
                "missing": missing,
            }
        )
    return {"cases": cases}


def synchronisations(scale: Scale) -> dict[str, Any]:
    """How often the host waits for the GPU in so many steps, as torch's debug mode counts."""
    found = {}
    for name, make in (("Selector", eager), ("GraphStep", graphed), ("eager torch", plain)):
        step = make(scale.device)
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
