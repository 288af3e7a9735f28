"""What is measured on a GPU. A part gives cases, each with the times of its candidates."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import impsamp_fast as isf
from bench.operators import peers
from bench.operators.gpu import checks as gpu_checks
from bench.operators.gpu.timing import Timer, graph_of, rotating, usable
from bench.operators.inputs import logits_and_target
from bench.operators.ratios import COMPILE, EAGER, OURS, Candidates
from bench.tasks import TASKS, two_circles

COPY = "copying as many bytes"
GRAPHED = "plain torch in a graph"
TWO_CIRCLES = TASKS["two-circles"]

Case = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much is measured; smaller in tests."""

    timer: Timer
    large: int = 1024
    classes: tuple[int, ...] = (2, 10)
    wide: tuple[int, int] = (8192, 128_256)
    copied: int = 2**31  # bytes
    draws: tuple[int, ...] = (2**16, 2**18, 2**20, 2**22, 2**24)
    drawn: int = 2**14
    in_a_graph: int = 20  # calls
    steps: int = 64

    @property
    def device(self) -> torch.device:
        return self.timer.device


def case(scale: Scale, name: str, ours: Candidates, others: Candidates, **more: Any) -> Case:
    """A case that times our candidates and the peers that work here."""
    works, missing = usable(others)
    times = scale.timer.in_turns({**ours, **works})
    return {"name": name, "microseconds": times, "missing": missing, **more}


def correctness(scale: Scale) -> dict[str, Any]:
    return gpu_checks.run(scale.device)


def select_eager(scale: Scale) -> dict[str, Any]:
    return {"cases": [select_case(scale, C) for C in scale.classes]}


def select_inputs(scale: Scale, C: int) -> tuple[Tensor, Tensor, int]:
    logits, target = logits_and_target(scale.large, C)
    return logits.to(scale.device), target.to(scale.device), scale.large // 8


def select_case(scale: Scale, C: int) -> Case:
    logits, target, n = select_inputs(scale, C)
    ours: Candidates = {OURS: lambda: isf.select(logits, target, n)}
    others = {
        EAGER: lambda: peers.eager_select(logits, target, n),
        COMPILE: compiled(peers.eager_select, [(logits, target, n)]),
    }
    return case(scale, f"select, K={scale.large}, n={n}, C={C}, a call", ours, others)


def select_graph(scale: Scale) -> dict[str, Any]:
    return {"cases": [c for C in scale.classes for c in select_graph_cases(scale, C)]}


def select_graph_cases(scale: Scale, C: int) -> Iterator[Case]:
    """Alone in its graph a call costs a launch; among others, what the GPU takes for it."""
    logits, target, n = select_inputs(scale, C)
    for calls, where in ((1, "a graph of its own"), (scale.in_a_graph, "one of many in a graph")):
        found: Case = case(
            scale,
            f"select, K={scale.large}, n={n}, C={C}, {where}",
            {OURS: graph_of(lambda: isf.select(logits, target, n), calls)},
            {GRAPHED: captured(lambda: peers.eager_select(logits, target, n), calls)},
            calls=calls,
        )
        for times in found["microseconds"].values():
            times.update({name: round(value / calls, 3) for name, value in times.items()})
        yield found


def captured(function: Callable[[], object], calls: int) -> Callable[[], object]:
    """A peer in a graph, or what raises the reason why it cannot be in one."""
    try:
        return graph_of(function, calls)
    except Exception as error:
        return failing(error)


def compiled(
    function: Callable[..., object], inputs: list[tuple[Any, ...]]
) -> Callable[[], object]:
    """A peer by torch.compile on one set of inputs after the other, or what raises."""
    result = peers.compiled(function, *inputs[0])
    if result is None:
        return failing(RuntimeError("torch.compile does not work here"))
    return rotating(result, inputs)


def failing(error: Exception) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def formula(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and |softmax - onehot|, each [K], without a matrix of size K x C: what compiles best."""
    z = logits.float()
    log_sum = z.logsumexp(-1)
    surprise = log_sum - z.gather(1, target[:, None])[:, 0]
    p = (-surprise).exp()
    squares = (2 * (z - log_sum[:, None])).exp().sum(-1)
    return surprise, (squares - p.square() + (1 - p).square()).clamp(min=0).sqrt()


def wide(scale: Scale) -> dict[str, Any]:
    """Statistics of wide rows: two sets of inputs, each far larger than the cache."""
    bandwidth = copy_bandwidth(scale)
    rows, classes = scale.wide
    inputs = [gpu_checks.inputs(rows, classes, scale.device, torch.bfloat16) for _ in range(2)]
    size = inputs[0][0].nbytes
    copying = 1e6 * size / bandwidth
    others = {
        EAGER: rotating(peers.eager_row_stats, inputs),
        COMPILE: compiled(formula, inputs),
    }
    pair = "select of one row: loss, grad_norm and a draw"
    operators: Candidates = {
        pair: rotating(lambda z, y: isf.select(z, y, 1), inputs),
        'score("grad_norm")': rotating(lambda z, y: isf.score(z, y), inputs),
        "row_stats: all five": rotating(lambda z, y: isf.row_stats(z, y), inputs),
    }
    what = f"{rows} x {classes} bfloat16"
    works, missing = usable(others)
    times = scale.timer.in_turns({**operators, **works})
    still = {"median": round(copying, 3), "low": round(copying, 3), "high": round(copying, 3)}
    cases = []
    for name in operators:
        beside = {COPY: still} | {peer: times[peer] for peer in works}
        cases.append(
            {
                "name": f"{name}, {what}",
                "microseconds": {OURS: times[name], **beside},
                "missing": missing,
                "bytes": size,
                "share_of_copy_bandwidth": round(copying / times[name]["median"], 4),
            }
        )
    return {"cases": cases, "copy_bandwidth": bandwidth}


def copy_bandwidth(scale: Scale) -> float:
    """Bytes per second that a device copy reads and writes."""
    source = torch.empty(scale.copied, dtype=torch.uint8, device=scale.device).zero_()
    destination = torch.empty_like(source)
    times = scale.timer.in_turns({COPY: lambda: destination.copy_(source)})
    return 2 * source.nbytes / (1e-6 * times[COPY]["median"])


def draw(scale: Scale) -> dict[str, Any]:
    cases = []
    for K in scale.draws:
        weights = torch.rand(K, device=scale.device)
        n = min(scale.drawn, K // 2)
        for method, replacement in (("multinomial", True), ("race", False)):
            cases.append(
                case(
                    scale,
                    f"draw, {method}, K={K}, n={n}",
                    {OURS: lambda w=weights, n=n, m=method: isf.draw(w, n, m)},
                    {
                        "torch.multinomial": lambda w=weights, n=n, r=replacement: (
                            torch.multinomial(w, n, replacement=r)
                        )
                    },
                )
            )
    return {"cases": cases}


Step = Callable[[], object]


class Training:
    """Two Circles with one way to train, on blocks of a pool that is on the device."""

    def __init__(self, device: torch.device, **adam: bool) -> None:
        torch.manual_seed(0)
        x, y = (tensor.to(device) for tensor in two_circles.sample(2**16, seed=1))
        large, mini = TWO_CIRCLES.large, TWO_CIRCLES.mini
        self.large = itertools.cycle(zip(x.split(large), y.split(large), strict=True))
        self.mini = itertools.cycle(zip(x.split(mini), y.split(mini), strict=True))
        self.model = two_circles.network().to(device)
        parameters = self.model.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=TWO_CIRCLES.learning_rate, **adam)

    def selector(self, start: isf.StartRule | None = None) -> isf.Selector:
        return isf.Selector(self.model, TWO_CIRCLES.mini, correction="none", start=start, seed=0)

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
    training = Training(device, capturable=device.type == "cuda")
    step = isf.GraphStep(training.selector(start), training.optimizer)
    return lambda: step(*next(training.large))


def eager(device: torch.device) -> Step:
    training = Training(device)
    selector = training.selector()
    return lambda: training.importance(selector)


def plain(device: torch.device, **adam: bool) -> Step:
    return Training(device, **adam).uniform


def two_circles_step(scale: Scale) -> dict[str, Any]:
    device = scale.device
    in_graph, by_selector = "in one graph", "by a Selector, without a graph"
    never = isf.After(10**12)
    ours = {
        in_graph: graphed(device),
        by_selector: eager(device),
        "uniform in one graph": graphed(device, never),
    }
    for step in ours.values():
        for _ in range(10):  # eager steps, then the capture
            step()
    works, missing = usable(
        {"eager torch, uniform": plain(device), "the same, fused Adam": plain(device, fused=True)}
    )
    times = scale.timer.in_turns({**ours, **works})
    prefix = f"Two Circles step, K={TWO_CIRCLES.large}, n={TWO_CIRCLES.mini}"
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


@dataclass(frozen=True)
class Part:
    run: Callable[[Scale], dict[str, Any]]
    seconds: int  # at most; together with what starting takes, less than eight minutes


PARTS = {
    "correctness": Part(correctness, 90),
    "select_eager": Part(select_eager, 80),
    "select_graph": Part(select_graph, 50),
    "wide": Part(wide, 110),
    "two_circles": Part(two_circles_step, 60),
    "synchronisations": Part(synchronisations, 30),
    "draw": Part(draw, 60),
}
