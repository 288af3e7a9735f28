"""The interpreter lock is free while a kernel runs, and calls from several threads do not mix."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import impsamp_fast as isf
from tests.methods import RANDOM_METHODS


def longest_pause(call) -> tuple[float, float]:
    """How long a call took, and the longest time in which another thread could not run."""
    pauses, done, started = [], threading.Event(), threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not done.is_set():
            started.set()
            time.sleep(0.0005)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    other = threading.Thread(target=tick)
    other.start()
    started.wait()
    begin = time.perf_counter()
    call()
    took = time.perf_counter() - begin
    done.set()
    other.join()
    return took, max(pauses)


WEIGHTS = torch.rand(2**22, generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn(2**15, 1000, generator=torch.Generator().manual_seed(2))
TARGET = torch.arange(2**15) % 1000
LONG_CALLS = {
    "row_stats": lambda: isf.row_stats(LOGITS, TARGET),
    "score": lambda: isf.score(LOGITS, TARGET),
    "draw": lambda: isf.draw(WEIGHTS, 2**22, seed=0),
    "draw without replacement": lambda: isf.draw(WEIGHTS, 2**20, "race", seed=0),
    "select": lambda: isf.select(LOGITS, TARGET, 100, seed=0),
}


@pytest.mark.parametrize("call", LONG_CALLS.values(), ids=LONG_CALLS)
def test_another_thread_runs_during_a_call(call) -> None:
    """A busy machine can pause any thread: the best of several tries is what counts."""
    torch.set_num_threads(1)
    tries = []
    for _ in range(20):
        took, pause = longest_pause(call)
        assert took > 0.004, "too short to tell"
        tries.append(pause / took)
        if min(tries) < 0.5:
            return
    pytest.fail(f"the other thread stood still for {min(tries):.0%} of the call")


def test_many_threads_at_once() -> None:
    """Each thread gets what it would have got alone, whatever the others ask for."""
    jobs = []
    for i in range(200):
        generator = torch.Generator().manual_seed(i)
        rows, classes = (
            int(torch.randint(1, high, (), generator=generator)) for high in (3000, 60)
        )
        logits = torch.randn(rows, classes, generator=generator)
        target = torch.randint(classes, (rows,), generator=generator)
        method = RANDOM_METHODS[i % 5]
        jobs.append((logits, target, 1 + (rows - 1) // 3, method, i))

    def work(job) -> tuple[torch.Tensor, ...]:
        logits, target, n, method, seed = job
        weights = isf.score(logits, target, "loss")
        drawn = isf.draw(weights, n, method, seed)
        picked = isf.select(logits, target, n, "margin", method, seed=seed)
        return (*isf.row_stats(logits, target), weights, *drawn, *picked)

    alone = [work(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, jobs * 3))
    for expected, result in zip(alone * 3, together, strict=True):
        assert all(map(torch.equal, expected, result))


def test_errors_in_one_thread_leave_the_others_alone() -> None:
    logits, target = torch.randn(500, 7), torch.randint(7, (500,))
    wrong = target.clone()
    wrong[400] = 7
    expected = isf.select(logits, target, 50, seed=1)

    def work(i: int) -> None:
        if i % 2:
            with pytest.raises(IndexError, match=r"target\[400\] is 7"):
                isf.select(logits, wrong, 50, seed=1)
        else:
            assert all(map(torch.equal, isf.select(logits, target, 50, seed=1), expected))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))


def test_one_generator_shared_by_threads(device: torch.device) -> None:
    """Each call takes one number from it: all together they take what a loop takes."""
    weights = torch.rand(100, device=device)
    generator = torch.Generator(device).manual_seed(3)
    in_turn = [tuple(isf.draw(weights, 5, generator=generator).index.tolist()) for _ in range(400)]
    generator.manual_seed(3)
    with ThreadPoolExecutor(8) as pool:
        at_once = pool.map(
            lambda _: tuple(isf.draw(weights, 5, generator=generator).index.tolist()), range(400)
        )
    assert sorted(in_turn) == sorted(at_once)
