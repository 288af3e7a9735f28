"""A world of processes that stays for many tests: ranks of gloo over loopback.

A function is run by the first ranks of the world, with a process group of theirs. It must be at the
top of a module, for it goes to them by its name.
"""

import faulthandler
import os
import pickle
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import impsamp_fast  # noqa: F401 (loaded once, in the process that the ranks are forked from)

SIZES = (2, 3, 4)
TIMEOUT = 300  # seconds in which no rank answers a call
_GRACE = 20  # seconds that the others have after the first rank has failed


class World:
    """As many processes as the largest of ``SIZES``, and a process group of each size."""

    def __init__(self) -> None:
        context = mp.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._folder = tempfile.TemporaryDirectory()
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(max(SIZES)):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, self._folder.name, there), daemon=True
            )
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
        self.is_alive = True

    def run(self, size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What ``function(group, *args)`` returns on each of the first ``size`` ranks.

        Raises:
            AssertionError: with the ranks' tracebacks, if one has failed or all take too long.
        """
        call = pickle.dumps((size, function, args))
        for pipe in self._pipes[:size]:
            pipe.send_bytes(call)
        answers: dict[int, Any] = {}
        failures: dict[int, str] = {}
        # Seconds of waiting, not of the clock: a machine may be paused.
        left = TIMEOUT
        while len(answers) + len(failures) < size and left > 0:
            silent = {
                self._pipes[rank]: rank
                for rank in range(size)
                if rank not in answers and rank not in failures
            }
            ready = wait(list(silent), timeout=1)
            left -= not ready
            for pipe in ready:
                rank = silent[pipe]
                try:
                    went_well, told = pickle.loads(pipe.recv_bytes())
                except EOFError:
                    went_well, told = False, "has died"
                if went_well:
                    answers[rank] = told
                else:
                    failures[rank] = told
                    left = min(left, _GRACE)
        if len(answers) < size:
            for rank in set(range(size)) - set(answers) - set(failures):
                failures[rank] = "does not answer:\n" + self._stack(rank)
            self.close()
            told = "\n".join(f"rank {rank} {failures[rank]}" for rank in sorted(failures))
            raise AssertionError(told)
        return [answers[rank] for rank in range(size)]

    def close(self) -> None:
        """Ends the processes."""
        self.is_alive = False
        for process in self._processes:
            process.kill()
            process.join()
        self._folder.cleanup()

    def _stack(self, rank: int) -> str:
        """Where a rank is."""
        os.kill(self._processes[rank].pid, signal.SIGUSR1)
        time.sleep(1)
        return _stack_file(self._folder.name, rank).read_text()


def _stack_file(folder: str, rank: int) -> Path:
    return Path(folder) / f"stack-{rank}"


def _serve(rank: int, folder: str, pipe: Connection) -> None:
    """Runs what the pipe brings, until it closes."""
    stack = _stack_file(folder, rank).open("w")
    faulthandler.register(signal.SIGUSR1, stack)
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=max(SIZES)
    )
    groups = {size: dist.new_group(list(range(size))) for size in SIZES}
    while True:
        size, function, args = pickle.loads(pipe.recv_bytes())
        try:
            torch.manual_seed(0)
            answer = True, function(groups[size], *args)
        except Exception:
            answer = False, "raised:\n" + traceback.format_exc()
        pipe.send_bytes(pickle.dumps(answer))
