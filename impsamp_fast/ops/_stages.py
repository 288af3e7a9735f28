"""A draw from rows that are in several parts, in stages that the parts take side by side.

The rows are those that :func:`draw` draws from the parts one after the other, bit by bit. What the
parts must hear of each other does not depend on how many rows they have: the largest weight and the
numbers of rows, by which all make the same fixed points of their weights; then the totals of these,
by which each knows the points of the cumulative sum that fall on its rows.
"""

from collections.abc import Generator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impsamp_fast.ops._arguments import signed
from impsamp_fast.ops._call import operator
from impsamp_fast.ops._draw import Draw
from impsamp_fast.ops._fakes import (
    check_count,
    check_numbers,
    check_scalar,
    fake_of,
    result_dtype,
)


class Scan(NamedTuple):
    """Of a part: the ``largest`` weight, how many are ``positive`` and a ``status``, all []."""

    largest: Tensor
    positive: Tensor
    status: Tensor


_scan = operator("_draw_scan", Scan)
_total = operator("_draw_total", Tensor)
_part = operator("_draw_part", Draw)

_ELSEWHERE = -1
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def draw_in_parts(parts: Sequence[Tensor], n: int, method: str, seed: int | Tensor) -> Draw:
    """What :func:`draw` draws from the concatenation of the parts.

    Args:
        parts: weights ``[k]`` each, of one dtype and on one device; k may be 0.
        n: as :func:`draw` has it.
        method: one that draws with replacement.
        seed: as :func:`draw` has it.
    """
    draws = [part_of_draw(weights, part, n, method, seed) for part, weights in enumerate(parts)]
    said: list[Any] = [next(draw) for draw in draws]
    while isinstance(said[0], Tensor):
        heard = torch.stack(said)
        said = [advance(draw, heard) for draw in draws]
    index, before = [], 0
    for weights, share in zip(parts, said, strict=True):
        index.append(torch.where(share.index < 0, _ELSEWHERE, share.index + before))
        before += weights.shape[0]
    return Draw(torch.stack(index).amax(0), torch.stack([share.prob for share in said]).sum(0))


def advance(draw: Generator[Tensor, Tensor, Draw], heard: Tensor) -> Tensor | Draw:
    """What a part of a draw says next, or in the end its share."""
    try:
        return draw.send(heard)
    except StopIteration as end:
        share: Draw = end.value
        return share


def part_of_draw(
    weights: Tensor, part: int, n: int, method: str, seed: int | Tensor
) -> Generator[Tensor, Tensor, Draw]:
    """One part's side of a draw: yields what all parts must hear, and is sent their stack.

    That is int64 and of one shape in all parts. Whatever is decided, an error too, all decide at
    the same stage. Nothing waits for an accelerator.

    Args:
        weights: ``[k]``, of this part.
        part: which one it is.
        n: how many rows are drawn from all parts.
        method: one that draws with replacement.
        seed: the same in all parts.

    Returns:
        ``Draw(index, prob)``, ``[n]`` each: rows of this part; -1 and 0 where another part has the
        row. On an accelerator -1 and NaN where a weight of any part is negative or not finite.
    """
    scan = _scan((weights,), None)
    dtype = scan.largest.dtype
    rows = torch.full_like(scan.positive, weights.shape[0])
    # Bits order as weights do, also where a processor flushes subnormal numbers to zero.
    bits = scan.largest.view(_BITS[dtype]).long()
    bits, _, rows, status = (yield torch.stack([bits, scan.positive, rows, scan.status])).unbind(1)
    if weights.is_cpu:
        _raise_for(status, rows)
    largest = bits.amax().to(_BITS[dtype]).view(dtype)
    known = (weights, largest, rows.sum())
    totals = yield _total(known, None)
    number = _on_device(seed, weights.device)
    share = _part((*known, totals.sum(), totals[:part].sum(), n, method, number), None)
    failed = largest.isnan()
    return Draw(
        share.index.masked_fill(failed, _ELSEWHERE), share.prob.masked_fill(failed, torch.nan)
    )


def _on_device(seed: int | Tensor, device: torch.device) -> Tensor:
    if isinstance(seed, Tensor):
        return seed
    return torch.full((), signed(seed), dtype=torch.int64, device=device)


def _raise_for(status: Tensor, rows: Tensor) -> None:
    """Raises what is wrong with the weights of all parts."""
    faulty = status.nonzero().flatten()
    if faulty.numel():
        row = rows[: faulty[0]].sum() + status[faulty[0]] - 1
        raise ValueError(f"weights[{row}] is negative or not finite")


def _check_part(given: SimpleNamespace, n: int = 1) -> None:
    weights = given.weights
    check_numbers("weights", weights, "[k]")
    check_count(n, torch.sym_max(weights.shape[0], 1), "weights")  # type: ignore[no-untyped-call]


def _check_known(given: SimpleNamespace, n: int = 1) -> None:
    _check_part(given, n)
    check_scalar("largest", given.largest, result_dtype(given.weights), given.weights)
    check_scalar("rows", given.rows, torch.int64, given.weights)


@fake_of("_draw_scan", Scan._fields)
def _fake_scan(given: SimpleNamespace) -> tuple[Tensor, ...]:
    weights = given.weights
    _check_part(given)
    number = weights.new_empty((), dtype=torch.int64)
    return weights.new_empty((), dtype=result_dtype(weights)), number, torch.empty_like(number)


@fake_of("_draw_total", ("total",))
def _fake_total(given: SimpleNamespace) -> tuple[Tensor, ...]:
    _check_known(given)
    return (given.weights.new_empty((), dtype=torch.int64),)


@fake_of("_draw_part", Draw._fields)
def _fake_part(given: SimpleNamespace) -> tuple[Tensor, ...]:
    weights, n = given.weights, given.n
    _check_known(given, n)
    for name in ("total", "before", "seed"):
        check_scalar(name, getattr(given, name), torch.int64, weights)
    return (
        weights.new_empty(n, dtype=torch.int64),
        weights.new_empty(n, dtype=result_dtype(weights)),
    )
