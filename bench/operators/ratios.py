"""Each operator beside what a user could otherwise write or install, in one run.

Every case times all its candidates in turns, many times over, so that a machine that slows down
hits all alike; a number is the median of those turns. Ratios between them are the result, the
microseconds depend on the machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import impsamp_fast
from bench.operators import peers
from bench.operators.inputs import SIZES, WIDE, logits_and_target
from bench.operators.peers import jobs
from bench.operators.peers.peer import Job
from bench.operators.timing import Candidates, in_turns
from bench.report import machine
from bench.report.files import RESULTS, write_json
from bench.report.operator_tables import OURS
from bench.tasks import two_circles

RESULT = RESULTS / "ratios.json"
FEATURES = 256  # of a row, before the last layer


@dataclass(frozen=True)
class Case:
    """What is timed side by side.

    Args:
        name: in results and tables.
        operator: ours.
        sizes: K, n and C, as far as there are any.
        make: gives the candidates, and the reasons of those that are missing.
    """

    name: str
    operator: str
    sizes: dict[str, int]
    make: Callable[[], tuple[Candidates, dict[str, str]]]

    def measure(self) -> dict[str, Any]:
        """The case as it stands in the result."""
        candidates, missing = self.make()
        return {
            "name": self.name,
            "operator": self.operator,
            **self.sizes,
            "microseconds": in_turns(candidates),
            "missing": missing,
        }


def main(out: Path, threads: int) -> None:
    """Measure all cases, print them as they come, and write the JSON."""
    prepare(threads)
    measured = []
    for case in cases():
        measured.append(case.measure())
        times = ", ".join(f"{k} {v['median']:.1f}" for k, v in measured[-1]["microseconds"].items())
        print(f"{case.name}: {times} us", flush=True)
    result = {
        "format": 2,
        "machine": machine.describe(),
        "commit": machine.commit(),
        "versions": versions(),
        "cases": measured,
    }
    write_json(out, result)
    print(out)


def prepare(threads: int) -> None:
    """What holds for every measurement of the cases."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)


def versions() -> dict[str, str | None]:
    """Of each peer: that of its package, or None if it is not installed."""
    return {name: installed(peer.package) for name, peer in peers.PEERS.items()}


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cases() -> list[Case]:
    """All of them, in the order of the table."""
    return [
        *(select_case(K, C) for K, C in [*SIZES, (4096, WIDE)]),
        *(losses_case(K, C) for K, C in ((1024, 10), (1024, 1000), (4096, WIDE))),
        *(smoothing_case(K, C) for K, C in ((1024, 10), (1024, 1000), (4096, WIDE))),
        *(linear_case(K, C) for K, C in ((1024, 1000), (512, WIDE))),
        gradient_norms_case(),
        draw_case("multinomial", 1024, 128),
        draw_case("multinomial", 2**20, 128),
        draw_case("multinomial", 2**20, 2**16),
        draw_case("multinomial", 10**7, 2**16),
        draw_case("race", 2**20, 2**16),
        draw_case("topk", 2**20, 128),
        draw_case("topk", 1024, 128),
        updated_case(2**20, 128),
        by_rank_case(),
        selector_case(),
    ]


def of_job(
    name: str, operator: str, sizes: dict[str, int], job: Job, inputs: Callable[[], tuple[Any, ...]]
) -> Case:
    return Case(name, operator, sizes, lambda: peers.candidates(job, *inputs()))


def select_case(K: int, C: int) -> Case:
    n = K // 8

    def make() -> tuple[Candidates, dict[str, str]]:
        logits, target = logits_and_target(K, C)
        found, missing = peers.candidates(jobs.SELECT, logits, target, n)
        if C == WIDE:
            # What reading the logits once costs, whatever is computed from them.
            found["logits.sum()"] = lambda: logits.sum()
        return found, missing

    return Case(f"select, K={K}, n={n}, C={C}", "select", {"K": K, "n": n, "C": C}, make)


def losses_case(K: int, C: int) -> Case:
    inputs = partial(logits_and_target, K, C)
    return of_job(f"score loss, K={K}, C={C}", "score", {"K": K, "C": C}, jobs.LOSSES, inputs)


def smoothing_case(K: int, C: int) -> Case:
    def make() -> tuple[Candidates, dict[str, str]]:
        logits, target = logits_and_target(K, C)
        return {
            OURS: lambda: impsamp_fast.score(logits, target, label_smoothing=0.1),
            "the same without": lambda: impsamp_fast.score(logits, target),
        }, {}

    name = f"score with label smoothing, K={K}, C={C}"
    return Case(name, "score", {"K": K, "C": C}, make)


def linear_case(K: int, C: int) -> Case:
    def inputs() -> tuple[Tensor, ...]:
        return torch.randn(K, FEATURES), torch.randn(C, FEATURES) / 16, torch.randint(C, (K,))

    name = f"linear and score loss, K={K}, {FEATURES} features, C={C}"
    return of_job(name, "score", {"K": K, "C": C}, jobs.LINEAR_LOSSES, inputs)


def on_two_circles(*more: Any) -> tuple[Any, ...]:
    """The network, rows, their classes at random, and what follows them."""
    K = two_circles.TASK.large
    return two_circles.network(), torch.rand(K, 2) * 2.0 - 1.0, torch.randint(2, (K,)), *more


def two_circles_sizes() -> dict[str, int]:
    return {"K": two_circles.TASK.large, "n": two_circles.TASK.mini, "C": 2}


def gradient_norms_case() -> Case:
    sizes = two_circles_sizes()
    name = f"forward and score, Two Circles network, K={sizes['K']}"
    return of_job(name, "score", sizes, jobs.GRADIENT_NORMS, on_two_circles)


def draw_case(method: str, K: int, n: int) -> Case:
    name, sizes = f"draw, {method}, K={K}, n={n}", {"K": K, "n": n}
    return of_job(name, "draw", sizes, jobs.BY_METHOD[method], lambda: (torch.rand(K), n))


def updated_case(K: int, n: int) -> Case:
    def inputs() -> tuple[Any, ...]:
        return torch.rand(K), torch.randperm(K)[:n], torch.rand(n), n

    name = f"draw, multinomial, K={K}, n={n}, after {n} weights have changed"
    return of_job(name, "draw", {"K": K, "n": n}, jobs.DRAW_UPDATED, inputs)


def by_rank_case() -> Case:
    sizes = two_circles_sizes()
    name = f"forward and draw by rank of loss, Two Circles network, K={sizes['K']}, n={sizes['n']}"
    inputs = partial(on_two_circles, sizes["n"])
    return of_job(name, "draw", sizes, jobs.DRAW_BY_RANK, inputs)


def selector_case() -> Case:
    """What the Selector takes beside what it calls."""
    sizes = two_circles_sizes()
    n = sizes["n"]

    def make() -> tuple[Candidates, dict[str, str]]:
        model, x, y = on_two_circles()
        selector = impsamp_fast.Selector(model, n)

        def by_hand() -> object:
            with torch.no_grad():
                found = impsamp_fast.select(model(x), y, n)
            return x.index_select(0, found.index), y.index_select(0, found.index)

        return {OURS: lambda: selector(x, y), "forward, select and gather by hand": by_hand}, {}

    name = f"Selector, Two Circles network, K={sizes['K']}, n={n}"
    return Case(name, "Selector", sizes, make)
