"""The host never waits for the device, and kernels run on the stream that is current."""

import random
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests.devices import no_synchronisation
from tests.methods import METHODS

pytestmark = pytest.mark.cuda

SIZES = [(1024, 2), (1024, 10), (5000, 100), (100_000, 4), (3, 128_256)]
PAUSE = 100_000_000  # clock cycles: some 50 ms


def batch(device: torch.device, rows: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(device).manual_seed(seed)
    logits = 3 * torch.randn(rows, classes, device=device, generator=generator)
    return logits, torch.randint(classes, (rows,), device=device, generator=generator)


@pytest.mark.parametrize(("rows", "classes"), SIZES)
def test_no_operator_synchronises(rows: int, classes: int, cuda: torch.device) -> None:
    logits, target = batch(cuda, rows, classes)
    soft, weight = logits.softmax(-1), torch.rand(classes, device=cuda)
    wide = torch.rand(rows, 2 * classes, device=cuda).half()
    seed = torch.zeros((), dtype=torch.int64, device=cuda)
    generator = torch.Generator(cuda)
    n = max(1, rows // 8)
    stats = isf.row_stats(logits, target)
    chosen = isf.select(logits, target, n)
    with no_synchronisation(cuda):
        isf.row_stats(logits, target, class_weight=weight, out=stats)
        isf.row_stats(logits, target.int(), label_smoothing=0.1)
        isf.row_stats(wide[:, ::2], soft)
        isf.row_stats(logits.t().contiguous().t(), target, class_weight=weight.double())
        isf.score(logits, target, "last_layer", wide[:, :3])
        for method in METHODS:
            for source in ({}, {"seed": 3}, {"seed": seed}, {"generator": generator}):
                isf.draw(stats.loss, n, method, **source)
                isf.select(logits, target, n, method=method, smoothing=0.1, **source)
        isf.select(logits, target, n, "entropy", correction=0.5, class_weight=weight, out=chosen)
        isf.select(logits * float("nan"), target, n)
        isf.draw(-stats.loss, n)


@pytest.mark.parametrize("rows", [1000, 5000, 200_000])
@pytest.mark.parametrize("method", METHODS)
def test_kernels_run_on_the_current_stream(rows: int, method: str, cuda: torch.device) -> None:
    """Behind work that is still under way there, and so on what that work writes."""
    stream = torch.cuda.Stream()
    weights = torch.empty(rows, device=cuda)
    logits, target = torch.empty(rows, 2, device=cuda), torch.zeros(rows, device=cuda).long()
    torch.cuda.synchronize()

    def is_behind(pause: int) -> bool:
        """Whether all was launched within a pause of so many clock cycles."""
        weights.fill_(1)
        logits.zero_()
        stream.synchronize()
        torch.cuda._sleep(pause)
        weights[1:] = 0
        logits[1:, 1] = -torch.inf
        drawn = isf.draw(weights, 1, method)
        picked = isf.select(logits, target, 1, "loss", method)
        stats = isf.row_stats(logits, target)
        under_way = not stream.query()
        assert drawn.index.item() == picked.index.item() == 0
        assert drawn.prob.item() == 1
        assert stats.loss.count_nonzero() == 1
        return under_way

    with torch.cuda.stream(stream):
        is_behind(0)  # kernels that are loaded and memory that is allocated may wait for the device
        # Other processes take their time from this one too.
        assert any(is_behind(pause) for pause in (PAUSE, 10 * PAUSE, 100 * PAUSE))


def shuffled(values: Iterable[Any]) -> list[Any]:
    values = list(values)
    random.shuffle(values)
    return values


def test_streams_do_not_share_memory(cuda: torch.device) -> None:
    """What a call needs for a while is not given to another stream's call, however they overlap."""
    random.seed(0)
    for rows, classes in SIZES:
        n = max(1, rows // 8)
        for method in METHODS:
            batches = [batch(cuda, rows, classes, i) for i in range(4)]
            expected = [isf.select(*b, n, method=method, seed=i) for i, b in enumerate(batches)]
            streams = [torch.cuda.Stream() for _ in batches]
            torch.cuda.synchronize()
            found: list[list[Any]] = [[] for _ in batches]
            for _ in range(5):
                for i, (logits, target) in shuffled(enumerate(batches)):
                    with torch.cuda.stream(streams[i]):
                        torch.cuda._sleep(random.randrange(PAUSE // 1000))
                        found[i].append(isf.select(logits, target, n, method=method, seed=i))
            torch.cuda.synchronize()
            for results, truth in zip(found, expected, strict=True):
                for result in results:
                    assert all(map(torch.equal, result, truth)), (rows, classes, method)


def test_threads_with_streams_of_their_own(cuda: torch.device) -> None:
    jobs = [(*batch(cuda, 50 + 137 * i, 2 + i, i), METHODS[i % 6], i) for i in range(40)]

    def work(job: tuple[Tensor, Tensor, str, int]) -> list[Tensor]:
        logits, target, method, seed = job
        with torch.cuda.stream(torch.cuda.Stream(cuda)):
            weights = isf.score(logits, target, "loss")
            results = [
                *isf.row_stats(logits, target),
                *isf.draw(weights, 20, method, seed),
                *isf.select(logits, target, 20, "margin", method, seed=seed),
            ]
            torch.cuda.current_stream().synchronize()
        return results

    torch.cuda.synchronize()
    alone = [work(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, jobs * 5))
    for expected, result in zip(alone * 5, together, strict=True):
        assert all(map(torch.equal, expected, result))


LAUNCHES = """
import threading
import torch
import impsamp_fast as isf
from tests.methods import METHODS

rows = [500, 8_000, 13_000, 20_000, 33_000, 50_000, 64_000]
weights = [torch.arange(1.0, K + 1, device="cuda").sqrt() for K in rows]
torch.cuda.synchronize()
begin, found = threading.Barrier(len(rows)), {}

def draw(method, i):
    begin.wait()
    with torch.cuda.stream(torch.cuda.Stream()):
        found[method, i] = isf.draw(weights[i], 50, method, 3).index.cpu()

for method in METHODS:
    threads = [threading.Thread(target=draw, args=(method, i)) for i in range(len(rows))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for i, w in enumerate(weights):
        assert torch.equal(found[method, i], isf.draw(w.cpu(), 50, method, 3).index), (method, i)
"""


def test_first_launches_of_every_size_by_several_threads(cuda: torch.device) -> None:
    """Each raises the limit of shared memory as far as the largest needs it, whoever is first."""
    root = Path(__file__).parents[2]
    for _ in range(3):
        command = [sys.executable, "-c", LAUNCHES]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
