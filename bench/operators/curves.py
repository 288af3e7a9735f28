"""What operators and their peers take over sizes and dtypes, beside reading the input once.

Each sweep varies one size. The bandwidth of a read is that of a sum over a large buffer, measured
before each sweep.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.arguments import positive_int
from bench.operators import peers, ratios
from bench.operators.inputs import logits_and_target
from bench.operators.peers import jobs
from bench.operators.peers.peer import Job
from bench.operators.timing import in_turns
from bench.report import curves_figure, machine
from bench.report.files import RESULTS, read_json, write_json

RESULT = RESULTS / "operators.json"
TURNS = 11
BUFFER = 2**26  # float32 numbers, 256 MiB: far more than a cache holds

K = (64, 512, 4096, 2**15, 2**18)
C = (2, 8, 32, 128, 1024, 2**13, 2**15)
WEIGHTS = (2**8, 2**11, 2**14, 2**17, 2**20, 2**22)


@dataclass(frozen=True)
class Sweep:
    """One size of a job varied, and the others held.

    Args:
        job: what is done.
        axis: the size that is varied: "K", "C" or "n".
        values: its values.
        held: the other sizes; n is K / 8 where it is none of them.
        dtype: of logits or weights.
    """

    job: Job
    axis: str
    values: tuple[int, ...]
    held: dict[str, int] = field(default_factory=dict)
    dtype: str = "float32"

    def points(self) -> Iterator[dict[str, int]]:
        for value in self.values:
            sizes = {**self.held, self.axis: value}
            yield sizes if self.job is jobs.ROW_STATS else {"n": sizes["K"] // 8} | sizes


SWEEPS = (
    Sweep(jobs.ROW_STATS, "K", K, {"C": 10}),
    Sweep(jobs.ROW_STATS, "C", C, {"K": 1024}),
    *(
        Sweep(jobs.ROW_STATS, "C", (16, 256, 4096), {"K": 1024}, dtype)
        for dtype in ("float64", "float16", "bfloat16")
    ),
    Sweep(jobs.SELECT, "K", K, {"C": 10}),
    Sweep(jobs.SELECT, "n", (16, 128, 1024, 8192), {"K": 2**14, "C": 10}),
    Sweep(jobs.DRAW, "K", WEIGHTS, {"n": 128}),
    Sweep(jobs.DRAW, "n", (2**4, 2**8, 2**12, 2**16, 2**20), {"K": 2**20}),
    Sweep(jobs.DRAW_WITHOUT_REPLACEMENT, "K", WEIGHTS, {"n": 128}),
    Sweep(jobs.DRAW_WITHOUT_REPLACEMENT, "n", (2**4, 2**8, 2**12, 2**16), {"K": 2**20}),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=RESULT, help=f"({RESULT})")
    parser.add_argument("--threads", type=positive_int, default=2)
    parser.add_argument("--draw", action="store_true", help="the figure of that file, again")


def run(args: argparse.Namespace) -> None:
    if not args.draw:
        write_json(args.out, measured(args.threads))
        print(args.out)
    print(curves_figure.draw(read_json(args.out), args.out.with_suffix(".png")))


def measured(threads: int) -> dict[str, Any]:
    """All sweeps; each point is printed as it comes."""
    ratios.prepare(threads)
    return {
        "format": 1,
        "machine": machine.describe(),
        "commit": machine.commit(),
        "versions": ratios.versions(),
        "sweeps": [sweep_result(sweep) for sweep in SWEEPS],
    }


def sweep_result(sweep: Sweep) -> dict[str, Any]:
    return {
        "job": sweep.job.name,
        "axis": sweep.axis,
        "dtype": sweep.dtype,
        "read_bandwidth": read_bandwidth(),
        "points": [point_result(sweep, sizes) for sizes in sweep.points()],
    }


def read_bandwidth() -> float:
    """Bytes per second that a sum over a large buffer reads."""
    buffer = torch.ones(BUFFER)
    times = in_turns({"sum": lambda: buffer.sum()}, TURNS)
    return round(buffer.nbytes / (1e-6 * times["sum"]["median"]))


def point_result(sweep: Sweep, sizes: dict[str, int]) -> dict[str, Any]:
    inputs = inputs_of(sweep, sizes)
    candidates, missing = peers.candidates(sweep.job, *inputs)
    times = in_turns(candidates, TURNS)
    told = ", ".join(f"{name} {value['median']:.1f}" for name, value in times.items())
    print(f"{sweep.job.name}, {sizes}, {sweep.dtype}: {told} us", flush=True)
    return {
        **sizes,
        "bytes": inputs[0].nbytes,  # of logits or weights: both are read once
        "microseconds": times,
        "missing": missing,
    }


def inputs_of(sweep: Sweep, sizes: dict[str, int]) -> tuple[Any, ...]:
    dtype = getattr(torch, sweep.dtype)
    if "C" not in sizes:
        return torch.rand(sizes["K"], dtype=dtype), sizes["n"]
    logits, target = logits_and_target(sizes["K"], sizes["C"])
    more = () if sweep.job is jobs.ROW_STATS else (sizes["n"],)
    return logits.to(dtype), target, *more
