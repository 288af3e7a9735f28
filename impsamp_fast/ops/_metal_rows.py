"""Statistics of rows on Apple GPUs."""

import struct
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from impsamp_fast.ops._metal import check_dtype, implement, kernel, launch, named, scalars

# In the order of csrc/target.h.
LOSS, GRAD_NORM, P_TRUE, MARGIN, ENTROPY, P_WRONG, MARGIN_LACK = range(7)
KINDS = {
    "loss": LOSS,
    "grad_norm": GRAD_NORM,
    "last_layer": GRAD_NORM,
    "p_wrong": P_WRONG,
    "margin": MARGIN_LACK,
    "entropy": ENTROPY,
}

OUTPUTS = 5  # of a launch, at most
GROUP = 128  # threads of a threadgroup that has several rows
WIDE_GROUP = 256  # of one that has a row
SIMD = 32
FILLED = 16384  # threads that fill a device


class Rows(NamedTuple):
    """Rows as the kernels take them."""

    logits: Tensor  # [K, C], any strides
    target: Tensor | None  # [K] int64 or int32
    probability: Tensor | None  # [K, C] float32, contiguous
    class_weight: Tensor | None  # [C] float32, contiguous
    label_smoothing: float
    ignore_index: int | None
    sum_tolerance: float  # how far from 1 the sum of a row's probabilities may be

    @property
    def soft(self) -> bool:
        return self.probability is not None or self.label_smoothing != 0


def rows_of(given: SimpleNamespace) -> Rows:
    """The rows of an operator's arguments."""
    logits, target, class_weight = given.logits, given.target, given.class_weight
    check_dtype("logits", logits)
    classes = logits.shape[-1]
    logits = logits.reshape(-1, classes)
    probability, tolerance = None, 0.0
    if target.is_floating_point():
        tolerance = _sum_tolerance(target.dtype, classes)
        probability = target.to(torch.float32).reshape(-1, classes).contiguous()
        target = None
    else:
        target = target.reshape(-1)
        if target.itemsize < 4:
            target = target.to(torch.int32)
    if class_weight is not None:
        class_weight = class_weight.to(torch.float32).contiguous()
    return Rows(
        logits,
        target,
        probability,
        class_weight,
        given.label_smoothing,
        given.ignore_index,
        tolerance,
    )


def _sum_tolerance(dtype: torch.dtype, classes: int) -> float:
    """As ``sum_tolerance`` of csrc/target.h."""
    epsilon, least = {torch.float16: (2.0**-10, 2.0**-24), torch.bfloat16: (2.0**-7, 0.0)}.get(
        dtype, (2.0**-23, 0.0)
    )
    return max(4 * epsilon + classes * least, 2.0**-12)


class Spread(NamedTuple):
    """How rows are spread over the device."""

    team: int  # threads of a row, or of a slice of it
    group: int  # threads of a threadgroup
    slices: int  # of a row
    slice: int  # columns in each but the last


def spread_of(rows: Rows) -> Spread:
    """A few lanes for a row of few classes, else a SIMD group, a threadgroup or several."""
    count, classes = rows.logits.shape
    team = 1
    while team < SIMD and 8 * team < classes:
        team *= 2
    if rows.soft:
        wide = classes > 1024
        return Spread(*((WIDE_GROUP, WIDE_GROUP) if wide else (team, GROUP)), 1, classes)
    if 8 * team >= classes:
        return Spread(team, GROUP, 1, classes)
    if classes > 64 * SIMD or (count * SIMD < FILLED and classes > 32 * SIMD):
        team = WIDE_GROUP
    parts = min(FILLED // (count * team), classes // (16 * team), 1024)
    slice = classes if parts <= 1 else -(-classes // (parts * 1024)) * 1024
    return Spread(team, max(team, GROUP), -(-classes // slice), slice)


def _two(x: float) -> tuple[float, float]:
    """A number as the sum of two float32."""
    (high,) = struct.unpack("f", struct.pack("f", x))
    return high, x - high


def problem_of(rows: Rows, statistics: list[int], spread: Spread) -> tuple[int, ...]:
    """RowProblem of csrc/metal/rows.h."""
    count, classes = rows.logits.shape
    target = rows.target
    wanted = statistics + [-1] * (OUTPUTS - len(statistics))
    return scalars(
        "18q6f",
        count,
        classes,
        *rows.logits.stride(),
        target.stride(0) if target is not None else 0,
        target is not None and target.dtype == torch.int64,
        rows.ignore_index or 0,
        rows.ignore_index is not None,
        rows.probability is not None,
        rows.class_weight is not None,
        *wanted,
        spread.team,
        spread.slices,
        spread.slice,
        *_two(1.0 - rows.label_smoothing),
        *_two(rows.label_smoothing / classes),
        rows.sum_tolerance,
        0.0,
    )


def buffers_of(rows: Rows, outputs: list[Tensor]) -> list[Tensor]:
    """The first arguments of a launch; what a problem does not have, another buffer stands for."""
    given = [rows.logits, rows.target, rows.probability, rows.class_weight]
    places = outputs + outputs[-1:] * (OUTPUTS - len(outputs))
    return [rows.logits if buffer is None else buffer for buffer in given] + places


def run_rows(rows: Rows, statistics: list[int], outputs: list[Tensor]) -> None:
    """Fills outputs [K] float32 with the statistics, of which there are at most OUTPUTS."""
    count = rows.logits.shape[0]
    if count == 0:
        return
    spread, dtype = spread_of(rows), rows.logits.dtype
    problem = problem_of(rows, statistics, spread)
    buffers = buffers_of(rows, outputs)
    groups = -(-count // (spread.group // spread.team)) * spread.slices
    if rows.soft:
        function = kernel("soft_row_stats", "soft_row_stats", dtype)
        launch(function, [*buffers, problem], groups, spread.group)
        return
    partial = outputs[0]
    if spread.slices > 1:
        partial = outputs[0].new_empty(count * spread.slices * 4)
    name = "row_stats_entropy" if ENTROPY in statistics else "row_stats"
    function = kernel("row_stats", name, dtype)
    launch(function, [*buffers, partial, problem], groups, spread.group)
    if spread.slices > 1:
        join = kernel("row_stats", "join_slices", dtype)
        launch(join, [*buffers, partial, problem], -(-count // (GROUP // SIMD)), GROUP)


def multiply_by_features(features: Tensor, score: Tensor) -> None:
    """Multiplies scores [K] by sqrt(1 + |h|^2) for features [..., D]."""
    check_dtype("features", features)
    flat = features.reshape(score.numel(), features.shape[-1])
    if flat.stride(1) != 1 and flat.shape[1] > 1:
        flat = flat.contiguous()
    if score.numel() == 0:
        return
    problem = scalars("3q", score.numel(), flat.stride(0), flat.shape[1])
    function = kernel("last_layer", "last_layer", flat.dtype)
    launch(function, [flat, score, problem], -(-score.numel() // (GROUP // SIMD)), GROUP)


def statistic_of(argument: str, kind: str) -> int:
    """The statistic behind a kind of score."""
    return list(KINDS.values())[named(argument, kind, list(KINDS))]


@implement("row_stats")
def _run_row_stats(given: SimpleNamespace, *results: Tensor) -> None:
    run_rows(rows_of(given), [LOSS, GRAD_NORM, P_TRUE, MARGIN, ENTROPY], list(results))


@implement("score")
def _run_score(given: SimpleNamespace, score: Tensor) -> None:
    statistic = statistic_of("kind", given.kind)
    run_rows(rows_of(given), [statistic], [score])
    if given.kind == "last_layer":
        multiply_by_features(given.features, score)
