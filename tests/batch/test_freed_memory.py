"""Memory that is freed is kept for the next step."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

import impsamp_fast as isf

COUNT = """
import resource
import torch
import impsamp_fast as isf

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        activations = [torch.ones(1 << 22) for _ in range(8)]
        del activations
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

freed = faults()
assert isf.keep_freed_memory()
faults()
print(freed, faults())
"""
HAS_MALLOPT = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(not HAS_MALLOPT, reason="the C library is not glibc")
def test_pages_are_made_once() -> None:
    found = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True
    )
    freed, kept = map(int, found.stdout.split())
    assert freed > 1000  # what 40 times 16 MB take even where pages are of 2 MB
    assert kept < 100


@pytest.mark.parametrize(
    ("largest", "told", "set_to"),
    [
        (1 << 30, True, [(-3, 1 << 30), (-1, (1 << 31) - 1)]),
        (1 << 25, True, [(-3, 1 << 25), (-1, (1 << 31) - 1)]),
        (1 << 17, False, []),  # neither threshold alone does any good
    ],
)
def test_thresholds_are_set_together(
    monkeypatch: pytest.MonkeyPatch, largest: int, told: bool, set_to: list[tuple[int, int]]
) -> None:
    done = []

    def mallopt(option: int, value: int) -> int:
        if option == -3 and value > largest:
            return 0
        done.append((option, value))
        return 1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert isf.keep_freed_memory() == told
    assert done == set_to


def test_another_c_library_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not isf.keep_freed_memory()
