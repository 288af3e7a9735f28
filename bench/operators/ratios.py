"""Each operator beside the best that a user could otherwise write, in one run.

Every case times all its candidates in turns, many times over, so that a machine that slows down
hits all alike; a number is the median of those turns. Ratios between them are the result, the
microseconds depend on the machine.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import impsamp_fast
from bench.operators import peers
from bench.operators.inputs import SIZES, WIDE, logits_and_target
from bench.operators.peers import COMPILE, EAGER
from bench.operators.timing import Candidates, in_turns
from bench.report import machine
from bench.report.files import RESULTS, write_json
from bench.report.operator_tables import OURS
from bench.tasks import two_circles

RESULT = RESULTS / "ratios.json"
ROW_LOOP = "row-by-row backward loop"


def main(out: Path, threads: int) -> None:
    """Measure all cases, print them as they come, and write the JSON."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    cases = []
    for make in (select_cases, smoothing_cases, draw_cases, selector_cases, row_loop_cases):
        for case in make():
            cases.append(case)
            times = ", ".join(f"{k} {v['median']:.1f}" for k, v in case["microseconds"].items())
            print(f"{case['name']}: {times} us", flush=True)
    write_json(out, {"format": 1, "machine": machine.describe(), "cases": cases})
    print(out)


def select_cases() -> Iterator[dict[str, Any]]:
    for K, C in [*SIZES, (4096, WIDE)]:
        yield select_case(K, C)


def select_case(K: int, C: int) -> dict[str, Any]:
    n = K // 8
    logits, target = logits_and_target(K, C)
    candidates: Candidates = {
        OURS: lambda: impsamp_fast.select(logits, target, n),
        EAGER: lambda: peers.eager_select(logits, target, n),
    }
    by_compiler = peers.compiled(peers.eager_select, logits, target, n)
    if by_compiler is not None:
        candidates[COMPILE] = lambda: by_compiler(logits, target, n)
    if C == WIDE:
        # What reading the logits once costs, whatever is computed from them.
        candidates["logits.sum()"] = lambda: logits.sum()
    return {
        "name": f"select, K={K}, n={n}, C={C}",
        "operator": "select",
        "K": K,
        "n": n,
        "C": C,
        "microseconds": in_turns(candidates),
    }


def smoothing_cases() -> Iterator[dict[str, Any]]:
    for K, C in ((1024, 10), (1024, 1000), (4096, WIDE)):
        logits, target = logits_and_target(K, C)
        yield {
            "name": f"score with label smoothing, K={K}, C={C}",
            "operator": "score",
            "K": K,
            "C": C,
            "microseconds": in_turns(
                {
                    OURS: lambda z=logits, y=target: impsamp_fast.score(z, y, label_smoothing=0.1),
                    "the same without": lambda z=logits, y=target: impsamp_fast.score(z, y),
                }
            ),
        }


def draw_cases() -> Iterator[dict[str, Any]]:
    many, some = torch.rand(2**20), torch.rand(1024)
    yield draw_case("multinomial", many, 2**16)
    yield draw_case("multinomial", torch.rand(10**7), 2**16)
    yield draw_case("race", many, 2**16)
    yield draw_case("topk", many, 128)
    yield draw_case("topk", some, 128)


def draw_case(method: str, weights: Tensor, n: int) -> dict[str, Any]:
    if method == "topk":
        peer: Candidates = {"torch.topk": lambda: torch.topk(weights, n)}
    else:
        replacement = method == "multinomial"
        name = "torch.multinomial" + ("" if replacement else " without replacement")
        peer = {name: lambda: torch.multinomial(weights, n, replacement)}
    return {
        "name": f"draw, {method}, K={len(weights)}, n={n}",
        "operator": "draw",
        "K": len(weights),
        "n": n,
        "microseconds": in_turns({OURS: lambda: impsamp_fast.draw(weights, n, method), **peer}),
    }


def selector_cases() -> Iterator[dict[str, Any]]:
    """What the Selector takes beside what it calls."""
    task = two_circles.TASK
    model = two_circles.network()
    x = torch.rand(task.large, 2) * 2.0 - 1.0
    y = torch.randint(2, (task.large,))
    selector = impsamp_fast.Selector(model, task.mini)

    def by_hand() -> object:
        with torch.no_grad():
            found = impsamp_fast.select(model(x), y, task.mini)
        return x.index_select(0, found.index), y.index_select(0, found.index)

    yield {
        "name": f"Selector, Two Circles network, K={task.large}, n={task.mini}",
        "operator": "Selector",
        "K": task.large,
        "n": task.mini,
        "C": 2,
        "microseconds": in_turns(
            {OURS: lambda: selector(x, y), "forward, select and gather by hand": by_hand}
        ),
    }


def row_loop_cases() -> Iterator[dict[str, Any]]:
    """The loop makes its own forward passes, so ours is timed with and without one."""
    task = two_circles.TASK
    model = two_circles.network()
    x = torch.rand(task.large, 2) * 2.0 - 1.0
    y = torch.randint(2, (task.large,))
    with torch.no_grad():
        logits = model(x)

    def forward_and_select() -> object:
        with torch.no_grad():
            return impsamp_fast.select(model(x), y, task.mini)

    times = in_turns(
        {
            "select": lambda: impsamp_fast.select(logits, y, task.mini),
            "forward and select": forward_and_select,
            ROW_LOOP: lambda: peers.row_loop_grad_norm(model, x, y),
        }
    )
    for ours in ("select", "forward and select"):
        yield {
            "name": f"{ours}, Two Circles network, K={task.large}, n={task.mini}",
            "operator": "row loop",
            "K": task.large,
            "n": task.mini,
            "C": 2,
            "microseconds": {OURS: times[ours], ROW_LOOP: times[ROW_LOOP]},
        }
