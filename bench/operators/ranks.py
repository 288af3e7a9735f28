"""What rows of all ranks cost: a selector of a process group beside one of each rank's own rows.

A step is a call of the selector: scoring, selection and gathering, without the training. The ranks
are processes on this machine that talk by gloo over loopback.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import impsamp_fast
from bench.report import machine, ranks_table
from bench.report.files import read_json, write_json
from bench.tasks import two_circles
from impsamp_fast.distributed._ranks import Ranks

SIZES = (2, 4)
METHODS = ("multinomial", "race", "pps")
TURNS, CALLS = 11, 10
OWN = "own rows"


def main(out: Path | None) -> None:
    """Measure, print the table and write the JSON if it is asked for."""
    rows = [row for size in SIZES for row in measured(size)]
    print("\n".join(ranks_table.lines(rows)))
    if out is not None:
        task = two_circles.TASK
        shape = {"K": task.large, "n": task.mini}
        made_on = {"machine": machine.describe(), "commit": machine.commit()}
        write_json(out, {"format": 1, **made_on, **shape, "rows": rows})
        print(out)


def measured(size: int) -> list[dict[str, Any]]:
    """The kinds and methods, with so many ranks."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(measure, (size, folder), nprocs=size)
        rows: list[dict[str, Any]] = read_json(Path(folder) / "rows.json")
    return rows


def measure(rank: int, size: int, folder: str) -> None:
    """What one rank does."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size
    )
    rows = compared(dist.group.WORLD, TURNS, CALLS)
    if rank == 0:
        write_json(Path(folder) / "rows.json", rows)
    dist.barrier()
    dist.destroy_process_group()


def compared(group: Any, turns: int, calls: int) -> list[dict[str, Any]]:
    """The kinds and methods, as one rank of a group has timed them."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    task = two_circles.TASK
    torch.manual_seed(0)
    model = two_circles.network()
    x, y = two_circles.sample(task.large, seed=rank)
    rows = []
    for method in METHODS:
        options: dict[str, Any] = {"method": method, "seed": 0}
        together = options | {"n": size * task.mini, "group": group}
        selectors = {
            OWN: impsamp_fast.Selector(model, task.mini, **options),
            "all ranks": impsamp_fast.Selector(model, **together),
            "all ranks, exchanged": impsamp_fast.Selector(model, exchange=True, **together),
        }
        heard = {kind: bytes_of(lambda s=selector: s(x, y)) for kind, selector in selectors.items()}
        times: dict[str, list[float]] = {kind: [] for kind in selectors}
        for _ in range(turns):
            for kind, selector in selectors.items():
                dist.barrier(group)
                begin = time.perf_counter()
                for _ in range(calls):
                    selector(x, y)
                times[kind].append(1e6 * (time.perf_counter() - begin) / calls)
        for kind in selectors:
            took = median(times[kind])
            rows.append(
                {
                    "ranks": size,
                    "kind": kind,
                    "method": method,
                    "microseconds": round(took, 1),
                    "over_own": round(took - median(times[OWN]), 1),
                    "bytes": heard[kind],
                }
            )
    return rows


def bytes_of(step: Callable[[], object]) -> int:
    """What this rank hears of the others in a step that is not its first."""
    step()
    heard = 0
    gather, exchange = Ranks.gather, Ranks.exchange

    def counted_gather(ranks: Ranks, said: torch.Tensor) -> torch.Tensor:
        nonlocal heard
        heard += said.nbytes * (ranks.size - 1)
        return gather(ranks, said)

    def counted_exchange(
        ranks: Ranks, rows: torch.Tensor, sent: list[int], received: list[int]
    ) -> torch.Tensor:
        nonlocal heard
        there = exchange(ranks, rows, sent, received)
        heard += there.nbytes - there[: received[ranks.rank]].nbytes
        return there

    Ranks.gather, Ranks.exchange = counted_gather, counted_exchange  # type: ignore[method-assign]
    try:
        step()
    finally:
        Ranks.gather, Ranks.exchange = gather, exchange  # type: ignore[method-assign]
    return heard
