"""The operators of this source tree beside those of another, in one run: is any slower?

Each build runs in a process of its own, and they take turns, so that a machine that slows down hits
all alike. The times of a turn are divided by each other; the median of those ratios is the result.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import impsamp_fast as isf
from bench.operators import timing
from bench.operators.inputs import SIZES, WIDE, logits_and_target
from bench.operators.timing import Function
from bench.report import machine
from bench.report.files import write_json
from bench.report.operator_tables import against_markdown
from tests.methods import METHODS

ROOT = Path(__file__).parents[2]
KINDS = ("loss", "grad_norm", "p_wrong", "margin", "entropy")
# The package comes from the tree that is named, everything else from this one.
WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
import impsamp_fast
del sys.path[0]
from bench.operators.against import work
work(int(sys.argv[2]))
"""


def main(tree: Path, out: Path | None, threads: int) -> None:
    """Measure all cases, print the table, and write the JSON if it is asked for."""
    if not (tree / "impsamp_fast").is_dir():
        raise SystemExit(f"--against is {tree}, but must be a source tree of impsamp_fast")
    torch.set_num_threads(threads)
    with Build(ROOT, threads) as here, Build(tree.resolve(), threads) as there:
        compared = [compare(name, here, there) for name in cases()]
    result = {"format": 1, "machine": machine.describe(), "tree": str(tree), "cases": compared}
    print(against_markdown(result), end="")
    if out is not None:
        write_json(out, result)
        print(out)


def cases() -> dict[str, Callable[[], Function]]:
    """What is timed: for each case what makes its inputs and gives the call."""

    def of_logits(
        operator: Callable[..., object], K: int, C: int, *more: object, **options: object
    ) -> Function:
        return partial(operator, *logits_and_target(K, C), *more, **options)

    def of_probabilities(K: int, C: int, distance: float) -> Function:
        logits, _ = logits_and_target(K, C)
        target = (logits + distance * torch.randn(K, C)).softmax(-1)
        return partial(isf.score, logits, target)

    def draw(K: int, n: int, method: str) -> Function:
        weights = torch.rand(K, generator=torch.Generator().manual_seed(0))
        return partial(isf.draw, weights, n, method)

    found: dict[str, Callable[[], Function]] = {}
    for K, C in [*SIZES, (4096, WIDE)]:
        found[f"select, K={K}, n={K // 8}, C={C}"] = partial(of_logits, isf.select, K, C, K // 8)
    for K, n in ((1024, 128), (4096, 512)):
        name = f"select, K={K}, n={n}, C=2, correction 0.5"
        found[name] = partial(of_logits, isf.select, K, 2, n, correction=0.5)
    for K, C in SIZES:
        found[f"row_stats, K={K}, C={C}"] = partial(of_logits, isf.row_stats, K, C)
    for K, C in ((1024, 2), (4096, 1000)):
        for kind in KINDS:
            found[f"score {kind}, K={K}, C={C}"] = partial(of_logits, isf.score, K, C, kind)
    for K, C in ((1024, 10), (1024, 1000), (128, WIDE)):
        name = f"score, K={K}, C={C}, label smoothing"
        found[name] = partial(of_logits, isf.score, K, C, label_smoothing=0.1)
    for C in (2, 10, 1000):
        for distance in (3.0, 0.01):
            name = f"score, K=1024, C={C}, class probabilities {distance} off"
            found[name] = partial(of_probabilities, 1024, C, distance)
    for K, n in ((1024, 128), (2**20, 2**16)):
        for method in METHODS:
            found[f"draw {method}, K={K}, n={n}"] = partial(draw, K, n, method)
    return found


class Build:
    """A process that times calls of the package of one source tree."""

    def __init__(self, tree: Path, threads: int) -> None:
        self.tree = tree
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tree), str(threads)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *request: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"the process with impsamp_fast of {self.tree} ended")
        return json.loads(answer)

    def __enter__(self) -> "Build":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def compare(name: str, here: Build, there: Build) -> dict[str, Any]:
    """Microseconds of a call of both builds, and quartiles of this one's by the other's."""
    calls = {build: build.ask("prepare", name) for build in (here, there)}
    times: dict[Build, list[float]] = {here: [], there: []}
    for turn in range(timing.TURNS):
        timing.wait_until_quiet()
        for build in (here, there) if turn % 2 else (there, here):
            times[build].append(1e6 * build.ask("time", calls[build]) / calls[build])
    ours, theirs = times.values()
    return {
        "name": name,
        "microseconds": timing.summary(ours),
        "microseconds_against": timing.summary(theirs),
        "ratio": timing.summary([a / b for a, b in zip(ours, theirs, strict=True)]),
    }


def work(threads: int) -> None:
    """What such a process does: it answers each request with a line."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    makers = cases()
    function: Function = torch.ones  # until one is prepared
    for line in sys.stdin:
        what, value = json.loads(line)
        if what == "prepare":
            function = makers[value]()
            answer: float = timing.calls_per_turn(function)
        else:
            timing.time_of(function, 1)  # the other process had the cores, and their caches
            answer = timing.time_of(function, value)
        print(json.dumps(answer), flush=True)
