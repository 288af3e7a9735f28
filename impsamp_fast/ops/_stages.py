"""A draw from rows that are in several parts, in stages that the parts take side by side.

The rows are those that :func:`draw` draws from the parts one after the other, bit by bit. What the
parts must hear of each other does not depend on how many rows they have: the largest weight and the
numbers of rows, by which all make the same fixed points of their weights; then what csrc/stages.h
names for the method.
"""

from collections.abc import Generator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from impsamp_fast.ops._arguments import signed
from impsamp_fast.ops._call import operator
from impsamp_fast.ops._draw import Draw
from impsamp_fast.ops._fakes import (
    check_beside,
    check_count,
    check_numbers,
    fake_of,
    result_dtype,
)
from impsamp_fast.ops._status import status_error


class Scan(NamedTuple):
    """Of a part: the ``largest`` weight, how many are ``positive`` and a ``status``, all []."""

    largest: Tensor
    positive: Tensor
    status: Tensor


class First(NamedTuple):
    """The first rows of a part by an order: ``key`` and ``index``, int64 [n]."""

    key: Tensor
    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field


# A part's weights [k], and of all parts the largest weight and the number of rows.
_Known = tuple[Tensor, Tensor, Tensor]
_Stages = Generator[Tensor, Tensor, Draw]

_scan = operator("_draw_scan", Scan)
_total = operator("_draw_total", Tensor)
_part = operator("_draw_part", Draw)
_first = operator("_draw_first", First)
_arrival_prob = operator("_draw_arrival_prob", Tensor)
_certain = operator("_draw_certain", Tensor)
_by_size = operator("_draw_by_size", Draw)

ELSEWHERE = -1
WITHOUT_REPLACEMENT = ("race", "topk", "pps")
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def draw_in_parts(parts: Sequence[Tensor], n: int, method: str, seed: int | Tensor) -> Draw:
    """What :func:`draw` draws from the concatenation of the parts.

    Args:
        parts: weights ``[k]`` each, of one dtype and on one device; k may be 0.
        n: as :func:`draw` has it.
        method: likewise.
        seed: likewise.
    """
    scans = torch.stack([scan_of(weights) for weights in parts])
    draws = [
        part_of_draw(weights, scans, part, n, method, seed) for part, weights in enumerate(parts)
    ]
    said: list[Any] = [next(draw) for draw in draws]
    while isinstance(said[0], Tensor):
        heard = torch.stack(said)
        said = [advance(draw, heard) for draw in draws]
    index, before = [], 0
    for weights, share in zip(parts, said, strict=True):
        index.append(torch.where(share.index < 0, ELSEWHERE, share.index + before))
        before += weights.shape[0]
    return Draw(torch.stack(index).amax(0), torch.stack([share.prob for share in said]).sum(0))


def advance(draw: _Stages, heard: Tensor) -> Tensor | Draw:
    """What a part of a draw says next, or in the end its share."""
    try:
        return draw.send(heard)
    except StopIteration as end:
        share: Draw = end.value
        return share


def scan_of(weights: Tensor) -> Tensor:
    """What all parts must hear of a part's weights before the first stage, int64 [4].

    The bits of the largest, how many are positive, how many there are, and 0 or 1 + the first
    faulty one.
    """
    scan = _scan((weights,), None)
    rows = torch.full_like(scan.positive, weights.shape[0])
    return torch.stack([bits_of(scan.largest), scan.positive, rows, scan.status])


def bits_of(numbers: Tensor) -> Tensor:
    """The bits of numbers that are not negative, int64.

    They order as the numbers do, also where a processor flushes subnormal numbers to zero.
    """
    return numbers.view(_BITS[numbers.dtype]).long()


def numbers_of(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers that have these bits."""
    return bits.to(_BITS[dtype]).view(dtype)


def part_of_draw(
    weights: Tensor, scans: Tensor, part: int, n: int, method: str, seed: int | Tensor
) -> _Stages:
    """One part's side of a draw: yields what all parts must hear, and is sent their stack.

    That is int64 and of one shape in all parts. Whatever is decided, an error too, all decide at
    the same stage. Only ``"pps"`` waits for an accelerator, once for each round.

    Args:
        weights: ``[k]``, of this part.
        scans: ``[parts, 4]``, the ``scan_of`` each.
        part: which one it is.
        n: how many rows are drawn from all parts.
        method: as :func:`draw` has it.
        seed: the same in all parts.

    Returns:
        ``Draw(index, prob)``, ``[n]`` each: rows of this part; -1 and 0 where another part has the
        row. On an accelerator -1 and NaN where :func:`draw` would mark that it could not be made.
    """
    bits, positive, rows, status = scans.unbind(1)
    largest = numbers_of(bits.amax(), result_dtype(weights))
    weighted = torch.where(positive.any(), positive.sum(), rows.sum())
    if scans.is_cpu:
        _raise_for(status, rows, int(weighted), n, method)
    failed = largest.isnan()
    if method in WITHOUT_REPLACEMENT:
        failed = failed | (weighted < n)
    # No stage is led astray by equal weights, which those of a draw that cannot be made become.
    known = (weights, largest.masked_fill(failed, 0.0), rows.sum())
    number = _on_device(seed, weights.device)
    if method == "pps":
        share = yield from _in_proportion(known, part, n, number)
    elif method in WITHOUT_REPLACEMENT:
        share = yield from _by_order(known, part, rows[:part].sum(), n, method, number)
    else:
        share = yield from _with_replacement(known, part, n, method, number)
    return Draw(
        share.index.masked_fill(failed, ELSEWHERE), share.prob.masked_fill(failed, torch.nan)
    )


def total_of(weights: Tensor, largest: Tensor, rows: Tensor) -> Tensor:
    """The sum of a part's weights in the fixed point of all, int64 [].

    Args:
        weights: ``[k]``, of the part.
        largest: [], the largest weight of all parts.
        rows: [], int64, how many rows all parts have.
    """
    return _total((weights, largest, rows), None)


def _with_replacement(known: _Known, part: int, n: int, method: str, seed: Tensor) -> _Stages:
    totals = yield total_of(*known)
    return _part((*known, totals.sum(), totals[:part].sum(), n, method, seed), None)


def _by_order(
    known: _Known, part: int, first_row: Tensor, n: int, method: str, seed: Tensor
) -> _Stages:
    weights, largest, rows = known
    first = _first((*known, first_row, n + 1, method, seed), None)
    keys = yield first.key
    # Equal keys stay in the order of the parts, and so of the rows.
    ordered, place = keys.flatten().sort(stable=True)
    elsewhere = place[:n] // (n + 1) != part
    index = first.index[place[:n] % (n + 1)].masked_fill(elsewhere, ELSEWHERE)
    if method == "topk":
        return Draw(index, (~elsewhere).to(largest.dtype))
    drawn = pad(weights, (0, 1))[index]  # the last one elsewhere
    prob = _arrival_prob((drawn, largest, rows, ordered[n]), None)
    return Draw(index, prob.masked_fill(elsewhere, 0.0))


def _in_proportion(known: _Known, part: int, n: int, seed: Tensor) -> _Stages:
    total = (yield total_of(*known)).sum()
    # The size from which rows are certain (none is, by its bits), the sum of the others, the count.
    found = torch.stack([torch.full_like(total, -1), total, torch.zeros_like(total)])
    while True:
        counted = yield _certain((*known, found, n), None)
        lowered = torch.cat([counted[0, :1], counted[:, 1:].sum(0)])
        if bool(lowered[0] == found[0]):
            return _by_size((*known, found, counted[:part, 1:].sum(0), n, seed), None)
        found = lowered


def _on_device(seed: int | Tensor, device: torch.device) -> Tensor:
    if isinstance(seed, Tensor):
        return seed
    return torch.full((), signed(seed), dtype=torch.int64, device=device)


def _raise_for(status: Tensor, rows: Tensor, weighted: int, n: int, method: str) -> None:
    """Raises what keeps the draw from being made."""
    faulty = status.nonzero().flatten()
    if faulty.numel():
        row = rows[: faulty[0]].sum() + status[faulty[0]] - 1
        raise ValueError(f"weights[{row}] is negative or not finite")
    if method in WITHOUT_REPLACEMENT and n > weighted:
        raise status_error(-1 - weighted, n, method)


def _check_part(given: SimpleNamespace, n: int = 1) -> None:
    weights = given.weights
    check_numbers("weights", weights, "[k]")
    check_count(n, torch.sym_max(weights.shape[0], 1), "weights")  # type: ignore[no-untyped-call]


def _check_known(given: SimpleNamespace, n: int = 1) -> None:
    _check_part(given, n)
    check_beside("largest", given.largest, given.weights, dtype=result_dtype(given.weights))
    check_beside("rows", given.rows, given.weights)


def _drawn(weights: Tensor, n: int) -> tuple[Tensor, ...]:
    prob = weights.new_empty(n, dtype=result_dtype(weights))
    return torch.empty_like(prob, dtype=torch.int64), prob


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
        check_beside(name, getattr(given, name), weights)
    return _drawn(weights, n)


@fake_of("_draw_first", First._fields)
def _fake_first(given: SimpleNamespace) -> tuple[Tensor, ...]:
    weights, n = given.weights, given.n
    _check_known(given, n)
    for name in ("first_row", "seed"):
        check_beside(name, getattr(given, name), weights)
    key = weights.new_empty(n, dtype=torch.int64)
    return key, torch.empty_like(key)


@fake_of("_draw_arrival_prob", ("prob",))
def _fake_arrival_prob(given: SimpleNamespace) -> tuple[Tensor, ...]:
    weights = given.weights
    _check_known(given)
    check_beside("next", given.next, weights)
    return (weights.new_empty(weights.shape, dtype=result_dtype(weights)),)


@fake_of("_draw_certain", ("counted",))
def _fake_certain(given: SimpleNamespace) -> tuple[Tensor, ...]:
    _check_known(given, given.n)
    check_beside("found", given.found, given.weights, (3,))
    return (torch.empty_like(given.found),)


@fake_of("_draw_by_size", Draw._fields)
def _fake_by_size(given: SimpleNamespace) -> tuple[Tensor, ...]:
    weights, n = given.weights, given.n
    _check_known(given, n)
    check_beside("found", given.found, weights, (3,))
    check_beside("before", given.before, weights, (2,))
    check_beside("seed", given.seed, weights)
    return _drawn(weights, n)
