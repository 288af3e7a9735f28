"""One binary, several instruction sets: the same rows for a seed on each, with any thread count.

torch fixes the instruction set when it is imported, so each level runs in a process of its own.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

LEVELS = {"default": "DEFAULT", "avx2": "AVX2", "avx512": "AVX512"}
SUPPORTED = torch.backends.cpu.get_cpu_capability()

SCRIPT = """
import hashlib, json
import torch
import impsamp_fast as isf
from impsamp_fast.ops._spanning import spanning_rows, spanning_rows_by_torch
from tests import reference
from tests.exact import assert_close_norms, close_rows
from tests.methods import METHODS
from tests.ops.test_spanning import problem

generator = torch.Generator().manual_seed(1)

def digest(*tensors):
    state = hashlib.sha256()
    for tensor in tensors:
        state.update(tensor.numpy().tobytes())
    return state.hexdigest()

result = {"capability": torch.backends.cpu.get_cpu_capability(), "draws": {}, "rows": {}}
for name, rows, n in (("small", 1000, 200), ("large", 300_000, 100_000)):
    for dtype in (torch.float32, torch.float64):
        root = torch.rand(rows, generator=generator).to(dtype)
        weights = root * root * root  # torch's powers differ in the last bit between the levels
        weights[::5] = 0
        for method in METHODS:
            for threads in (1, 2, 8):
                torch.set_num_threads(threads)
                drawn = [isf.draw(weights, n, method, seed=s) for s in (0, 2**63)]
                key = f"{name} {dtype} {method}"
                result["draws"].setdefault(key, []).append(
                    digest(*[d.index for d in drawn])
                )

worst = {}
for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
    shapes = [(83, classes) for classes in (1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 100, 1000)]
    for rows, classes in [*shapes, (3, 40_000)]:
        logits = (6 * torch.randn(rows, classes, generator=generator)).to(dtype)
        logits[::4, 0] += 20
        target = torch.randint(classes, (rows,), generator=generator)
        truth = reference.row_stats(logits, target)
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            stats = isf.row_stats(logits, target)
            result["rows"].setdefault(f"{dtype} {classes}", []).append(digest(*stats))
        for field in ("loss", "grad_norm", "p_true"):
            value, true = getattr(stats, field).double(), getattr(truth, field)
            normal = true > 1.2e-38
            error = ((value - true).abs() / true)[normal]
            wide = "float64" if dtype == torch.float64 else "float32"
            name = f"{wide} {field}"
            worst[name] = max([worst.get(name, 0.0), *error.tolist()])
result["worst"] = worst

for classes in (2, 3, 17, 100):
    for size in (0.1, 5.0):
        for what, logits, target in close_rows(classes, size, rows=33):
            assert_close_norms(isf.score(logits, target), logits, target, what=what)

for dtype in (torch.float32, torch.float64):
    given = problem(200, 5, 40, 90, dtype)
    assert torch.equal(spanning_rows(*given), spanning_rows_by_torch(*given))
print(json.dumps(result))
"""


def run(level: str) -> dict:
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": level}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def results() -> dict[str, dict]:
    """The levels that this machine has, from the plainest to the best."""
    ladder = list(LEVELS)
    best = ladder.index(next(name for name, label in LEVELS.items() if label == SUPPORTED))
    return {level: run(level) for level in ladder[: best + 1]}


def test_the_level_was_forced(results: dict[str, dict]) -> None:
    assert {level: result["capability"] for level, result in results.items()} == {
        level: LEVELS[level] for level in results
    }


def test_the_same_rows_on_every_level_with_any_thread_count(results: dict[str, dict]) -> None:
    for key, by_threads in results["default"]["draws"].items():
        seen = {
            (level, threads): digest
            for level, result in results.items()
            for threads, digest in zip((1, 2, 8), result["draws"][key], strict=True)
        }
        assert len(set(seen.values())) == 1, (key, seen, by_threads)


def test_statistics_do_not_depend_on_the_thread_count(results: dict[str, dict]) -> None:
    for level, result in results.items():
        for key, by_threads in result["rows"].items():
            assert len(set(by_threads)) == 1, (level, key)


def test_every_level_is_accurate(results: dict[str, dict]) -> None:
    for level, result in results.items():
        for name, error in result["worst"].items():
            assert error <= (1e-12 if name.startswith("float64") else 2e-6), (level, name)
