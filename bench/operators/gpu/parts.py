"""What is measured on a GPU. A part gives cases, each with the times of its candidates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import impsamp_fast as isf
from bench.operators import peers
from bench.operators.gpu import checks, steps
from bench.operators.gpu.scale import Case, Scale, case
from bench.operators.gpu.timing import graph_of, rotating, usable
from bench.operators.inputs import logits_and_target
from bench.operators.peers import by_compiler, eager, jobs
from bench.operators.peers.by_compiler import COMPILE
from bench.operators.peers.eager import EAGER
from bench.operators.timing import Candidates
from bench.report.operator_tables import OURS

COPY = "copying as many bytes"
GRAPHED = "plain torch in a graph"


def correctness(scale: Scale) -> dict[str, Any]:
    if scale.device.type == "mps":
        return checks.run(scale.device, checks.ROWS[:5], checks.WEIGHTS[:5])
    return checks.run(scale.device)


def select_eager(scale: Scale) -> dict[str, Any]:
    return {"cases": [select_case(scale, C) for C in scale.classes]}


def select_inputs(scale: Scale, C: int) -> tuple[Tensor, Tensor, int]:
    logits, target = logits_and_target(scale.large, C)
    return logits.to(scale.device), target.to(scale.device), scale.large // 8


def select_case(scale: Scale, C: int) -> Case:
    logits, target, n = select_inputs(scale, C)
    ours: Candidates = {OURS: lambda: isf.select(logits, target, n)}
    others = {
        EAGER: lambda: eager.select(logits, target, n),
        COMPILE: compiled(eager.select, [(logits, target, n)]),
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
            {GRAPHED: captured(lambda: eager.select(logits, target, n), calls)},
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
    try:
        return rotating(by_compiler.compiled(function, *inputs[0]), inputs)
    except Exception as error:
        return failing(error)


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
    inputs = [checks.inputs(rows, classes, scale.device, torch.bfloat16) for _ in range(2)]
    size = inputs[0][0].nbytes
    copying = 1e6 * size / bandwidth
    others = {
        EAGER: rotating(eager.row_stats, inputs),
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


def wide_losses(scale: Scale) -> dict[str, Any]:
    """Losses alone, for which others have kernels."""
    rows, classes = scale.wide
    inputs = checks.inputs(rows, classes, scale.device, torch.bfloat16)
    calls, missing = peers.candidates(jobs.LOSSES, *inputs)
    name = f'score("loss"), {rows} x {classes} bfloat16'
    times = scale.timer.in_turns(calls)
    return {"cases": [{"name": name, "microseconds": times, "missing": missing}]}


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


@dataclass(frozen=True)
class Part:
    run: Callable[[Scale], dict[str, Any]]
    seconds: int  # at most; together with what starting takes, less than eight minutes
    devices: tuple[str, ...] = ("cuda", "mps")


PARTS = {
    "correctness": Part(correctness, 90),
    "select_eager": Part(select_eager, 80),
    "select_graph": Part(select_graph, 50, ("cuda",)),
    "wide": Part(wide, 110),
    "wide_losses": Part(wide_losses, 60),
    "two_circles": Part(steps.two_circles_cases, 60),
    "pictures": Part(steps.picture_cases, 60),
    "synchronisations": Part(steps.synchronisations, 30, ("cuda",)),
    "draw": Part(draw, 60),
}
