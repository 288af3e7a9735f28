"""Memory that is kept between calls: csrc/cpu/scratch.cpp on its own, and draws that take it."""

import ctypes
import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_char, c_size_t, c_void_p
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = (sysconfig.get_config_var("CXX") or "c++").split()[0]
SOURCE = """
#include "cpu/scratch.cpp"
extern "C" void* take(size_t bytes) { return isf::cpu::take_scratch(bytes); }
extern "C" void give(void* memory) { isf::cpu::give_scratch(memory); }
"""
MB = 2**20
MOST = 128 * MB  # that is kept of one block


@pytest.fixture
def scratch(tmp_path: Path) -> ctypes.CDLL:
    """With nothing kept yet."""
    library = tmp_path / "scratch.so"
    flags = ["-std=c++20", "-O1", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}", "-x", "c++", "-"]
    subprocess.run([COMPILER, *flags, "-o", library], input=SOURCE, text=True, check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.take.restype, loaded.take.argtypes = c_void_p, [c_size_t]
    loaded.give.restype, loaded.give.argtypes = None, [c_void_p]
    return loaded


def test_large_memory_is_kept_and_grows(scratch: ctypes.CDLL) -> None:
    first = scratch.take(2 * MB)
    assert first % 64 == 0
    scratch.give(first)
    assert scratch.take(MB) == first
    second = scratch.take(MB)
    assert second != first
    scratch.give(first)
    scratch.give(second)
    assert {scratch.take(MB), scratch.take(MB)} == {first, second}
    scratch.give(first)
    large = scratch.take(64 * MB)  # which the first is too small for
    scratch.give(large)
    assert scratch.take(2 * MB) == large


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory")
def test_what_is_kept_has_a_bound(scratch: ctypes.CDLL) -> None:
    def touched(bytes_: int) -> int:
        memory: int = scratch.take(bytes_)
        ctypes.memset(memory, 1, bytes_)
        return memory

    # glibc gives blocks above 32 MB pages of their own, which go back when they are freed.
    before = resident_bytes()
    for block in [touched(40 * MB) for _ in range(6)]:
        scratch.give(block)
    assert resident_bytes() - before < 100 * MB
    scratch.give(touched(MOST + MB))
    assert resident_bytes() - before < 100 * MB


def test_no_memory_is_given_twice(scratch: ctypes.CDLL) -> None:
    def work(mark: int) -> bool:
        intact = True
        for turn in range(300):
            bytes_ = MB * (1 + (turn + mark) % 3)
            memory = scratch.take(bytes_)
            ends = [(c_char * 8).from_address(memory + at) for at in (0, bytes_ - 8)]
            for end in ends:
                end.value = bytes([mark]) * 7
            intact &= all(end.value == bytes([mark]) * 7 for end in ends)
            scratch.give(memory)
        return intact

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(1, 5)))


FORK = """
import os, torch
import impsamp_fast as isf

torch.set_num_threads(1)
weights = torch.rand(2**18)
draws = lambda: [isf.draw(weights, 2**17, m, seed=1).index for m in ("multinomial", "race")]
here = draws()
child = os.fork()
if child == 0:
    os._exit(not all(map(torch.equal, draws(), here)))
assert os.waitpid(child, 0)[1] == 0
assert all(map(torch.equal, draws(), here))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_draws_as_its_parent() -> None:
    process = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
