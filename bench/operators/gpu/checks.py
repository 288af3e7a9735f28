"""Is what is about to be timed right? Each check compares with the definition or with the CPU."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import impsamp_fast as isf
from bench.operators.gpu.timing import graph_of
from tests import reference
from tests.methods import METHODS

BOUND = 2e-6  # relative error of loss and gradient norm
TINY = torch.finfo(torch.float32).tiny
COMPARED = 64  # rows of a large problem that are computed by definition

ROWS = [
    (1024, 2, torch.float32),
    (1024, 10, torch.float32),
    (4096, 1000, torch.float16),
    (1000, 32_000, torch.bfloat16),
    (8, 128_256, torch.float32),
    (8192, 128_256, torch.bfloat16),
]
WEIGHTS = [1000, 4096, 4097, 2**16, 2**16 + 1, 2**20]

Check = dict[str, Any]


def run(
    device: torch.device,
    rows: list[tuple[int, int, torch.dtype]] = ROWS,
    weights: list[int] = WEIGHTS,
) -> dict[str, list[Check]]:
    """Each check with what it looked at, what it found and whether that is right."""
    checks = [row_check(*size, device) for size in rows]
    for K in weights:
        checks += [draw_check(K, method, device) for method in METHODS]
        checks += [select_check(K, C, device) for C in (2, 10)]
    checks += replay_checks(device) if device.type == "cuda" else []
    return {"checks": checks}


def verdict(what: str, found: float, allowed: float) -> Check:
    """A number that is not a number is wrong too."""
    return {"what": what, "found": found, "allowed": allowed, "ok": found <= allowed}


def inputs(
    K: int, C: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    logits = torch.randn(K, C, device=device, dtype=dtype) * 3
    return logits, torch.randint(C, (K,), device=device)


def row_check(K: int, C: int, dtype: torch.dtype, device: torch.device) -> Check:
    logits, target = inputs(K, C, device, dtype)
    found = isf.row_stats(logits, target)
    some = torch.linspace(0, K - 1, min(K, COMPARED)).long()
    truth = reference.row_stats(logits[some.to(device)].cpu(), target[some.to(device)].cpu())
    error = max(
        relative_error(getattr(found, name).cpu()[some], getattr(truth, name))
        for name in ("loss", "grad_norm")
    )
    return verdict(f"row_stats, {K} x {C} {dtype}: relative error", error, BOUND)


def relative_error(found: Tensor, truth: Tensor) -> float:
    """The largest, infinite for NaN."""
    error = (found.double() - truth).abs() / truth.abs().clamp(min=TINY)
    return error.nan_to_num(torch.inf).max().item()


def draw_check(K: int, method: str, device: torch.device) -> Check:
    weights = torch.rand(K) ** 4
    n = K // 8
    wrong = 0
    for seed in (1, -2):
        found = isf.draw(weights.to(device), n, method, seed)
        wrong += int((found.index.cpu() != isf.draw(weights, n, method, seed).index).sum())
    return verdict(f"draw, {method}, K={K}: rows that differ from the CPU's", wrong, 0)


def select_check(K: int, C: int, device: torch.device) -> Check:
    logits, target = inputs(K, C, device)
    n = K // 8
    picked = isf.select(logits, target, n, seed=3)
    drawn = isf.draw(picked.score.cpu(), n, seed=3)
    wrong = int((picked.index.cpu() != drawn.index).sum())
    if wrong or picked.status.item():
        return verdict(f"select, K={K}, C={C}: wrong rows", max(wrong, 1), 0)
    error = relative_error(picked.weight.cpu(), 1 / (K * drawn.prob.double()))
    return verdict(f"select, K={K}, C={C}: relative error of weights", error, 4 * BOUND)


def replay_checks(device: torch.device) -> Iterator[Check]:
    for K, C in ((1024, 2), (100_000, 10)):
        logits, target = inputs(K, C, device)
        picks: list[Tensor] = []
        replay = graph_of(lambda z=logits, y=target: isf.select(z, y, 128).index, 1)
        torch.cuda.manual_seed(5)
        for _ in range(3):
            (index,) = replay()
            picks.append(index.clone())
        torch.cuda.manual_seed(5)
        wrong = sum(int((rows != isf.select(logits, target, 128).index).sum()) for rows in picks)
        yield verdict(f"select, K={K}, replayed: rows that differ from eager ones", wrong, 0)
        same = sum(torch.equal(a, b) for a, b in pairwise(picks))
        yield verdict(f"select, K={K}, replayed: repeats of the same rows", same, 0)
