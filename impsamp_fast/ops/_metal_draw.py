"""Draws, selections and weights on Apple GPUs."""

import math
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from impsamp_fast.ops import _metal_rows
from impsamp_fast.ops._fakes import check_that
from impsamp_fast.ops._metal import check_dtype, implement, kernel, launch, named, scalars

# In the order of csrc/choice.h.
METHODS = ("multinomial", "stratified", "systematic", "race", "pps", "topk")
KINDS = ("with replacement", "without replacement", "deterministic")
CORRECTIONS = ("none", "unbiased", "normalized")
# In the order of csrc/metal/draw.h.
PROB, ONE, UNBIASED, NORMALIZED, POWER = range(5)
NOWHERE, BY_TARGET, BY_MASK = range(3)

MOST_THREADS = 512
MOST_SORTED = 2048  # keys that a threadgroup's memory sorts: a tile
MOST_ORDERED = 2**29  # rows, whose numbers in a sort are int32
TILE_GROUPS = 32  # threadgroups that share out the tiles, each with a look at all scores first
MOST_FUSED_ROWS = 4096
MOST_FUSED_CLASSES = 64
# One threadgroup scores this many logits about as fast as a second launch starts.
MOST_FUSED_LOGITS = 65536
SEED_WORDS = 4


class Outcome(NamedTuple):
    """What becomes of the probabilities of drawn rows."""

    kind: int  # of the draw
    what: int = PROB
    power: float = 1.0


class Ignored(NamedTuple):
    """Which rows are no candidates."""

    where: int = NOWHERE
    rows: Tensor | None = None  # [K]: class indices, int64 or int32, or a contiguous mask
    class_index: int = 0


class Seed(NamedTuple):
    """What decides a draw: a number, or a tensor on its device."""

    number: int = 0
    words: Tensor | None = None


def method_of(name: str) -> int:
    """The number of a method."""
    return named("method", name, METHODS)


def kind_of(method: int) -> int:
    """The kind of draw that a method makes."""
    return 0 if method < 3 else 2 if METHODS[method] == "topk" else 1


def way_of(method: int) -> str:
    """The kernel that finds a method's rows."""
    return "points" if method < 3 else "size" if METHODS[method] == "pps" else "order"


def outcome_of(kind: int, correction: str, exponent: float | None) -> Outcome:
    """What a correction makes of probabilities."""
    if exponent is not None and not math.isfinite(exponent):
        raise ValueError(f"correction is {exponent}, but a power must be finite")
    rule = POWER if exponent is not None else named("correction", correction, CORRECTIONS) + 1
    return Outcome(kind, ONE if kind == 2 else rule, 1.0 if exponent is None else exponent)


def seed_of(given: SimpleNamespace, method: int, device: torch.device) -> Seed:
    """A draw's seed; without one, words of the device's generator, which nobody waits for."""
    if given.generator is not None and given.generator.device.type != device.type:
        raise ValueError(f"generator is on {given.generator.device}, but the draw is on {device}")
    if given.seed is not None:
        return Seed(given.seed)
    if given.device_seed is not None:
        return Seed(words=given.device_seed)
    if METHODS[method] == "topk":
        return Seed()
    words = torch.randint(
        2**16, (SEED_WORDS,), generator=given.generator, dtype=torch.int64, device=device
    )
    return Seed(words=words)


def plan_of(
    rows: int,
    n: int,
    method: int,
    outcome: Outcome,
    threads: int,
    *,
    has_tau: bool = False,
    ignored: Ignored = Ignored(),  # noqa: B008 (a tuple)
    seed: Seed = Seed(),  # noqa: B008
    smoothing: float = 0.0,
) -> tuple[int, ...]:
    """DrawPlan of csrc/metal/draw.h."""
    fraction, exponent = math.frexp(abs(outcome.power))
    mantissa = int(math.ldexp(fraction, 64))
    target = ignored.rows
    return scalars(
        "12qQ2qq2f",
        rows,
        n,
        method,
        outcome.kind,
        outcome.what,
        has_tau,
        ignored.where,
        target is not None and target.dtype == torch.int64,
        0 if target is None else target.stride(0),
        ignored.class_index,
        0 if seed.words is None else seed.words.numel(),
        seed.number,
        mantissa,
        exponent - 64 if mantissa else 0,
        outcome.power < 0,
        -(-rows // threads),
        1.0 - smoothing,
        smoothing,
    )


def threads_for(busy: int) -> int:
    """A threadgroup's, in whole SIMD groups."""
    simd = _metal_rows.SIMD
    return min(-(-busy // simd) * simd, MOST_THREADS)


def draw_buffers(
    ignored: Ignored, seed: Seed, index: Tensor, result: Tensor, tau: Tensor, status: Tensor
) -> list[Tensor]:
    """Those of ISF_DRAW_BUFFERS but the last; what there is not, another buffer stands for."""
    target = index if ignored.rows is None else ignored.rows
    return [target, index if seed.words is None else seed.words, index, result, tau, status]


def check_ordered(rows: int) -> None:
    """Checks that so many rows can be sorted."""
    check_that(
        rows <= MOST_ORDERED,
        lambda: f"weights has {rows} rows, but on mps at most {MOST_ORDERED} can be put in order",
    )


def order_of(
    scores: Tensor, method: int, index: Tensor, buffers: list[Tensor], plan: tuple[int, ...]
) -> Tensor:
    """The rows in order, where they are more than a threadgroup's memory sorts."""
    rows = scores.numel()
    if way_of(method) != "order" or rows <= MOST_SORTED:
        return index
    check_ordered(rows)
    count = 1 << (rows - 1).bit_length()
    keys, tiles = index.new_empty(count), count // MOST_SORTED
    each = -(-tiles // TILE_GROUPS)
    arguments = [scores, *buffers, keys, plan, scalars("2q", tiles, each)]
    launch(kernel("draw", "draw_tiles"), arguments, -(-tiles // each), MOST_THREADS)
    run = 2 * MOST_SORTED
    while run <= count:
        distance = run // 2
        while distance >= MOST_SORTED:
            far = scalars("2q", run, distance)
            launch(kernel("sort", "sort_far"), [keys, far], tiles // 2, MOST_THREADS)
            distance //= 2
        near = scalars("2q", run, distance)
        launch(kernel("sort", "sort_near"), [keys, near], tiles, MOST_THREADS)
        run *= 2
    return keys


def draw_by(
    scores: Tensor,
    n: int,
    method: int,
    outcome: Outcome,
    seed: Seed,
    results: tuple[Tensor, Tensor, Tensor | None, Tensor],
    ignored: Ignored = Ignored(),  # noqa: B008
    smoothing: float = 0.0,
) -> None:
    """Draws by scores [K] float32 into index, result, tau and status."""
    index, result, tau, status = results
    rows = scores.numel()
    threads = threads_for(max(rows, n))
    plan = plan_of(
        rows,
        n,
        method,
        outcome,
        threads,
        has_tau=tau is not None,
        ignored=ignored,
        seed=seed,
        smoothing=smoothing,
    )
    buffers = draw_buffers(ignored, seed, index, result, result if tau is None else tau, status)
    keys = order_of(scores, method, index, buffers, plan)
    function = kernel("draw", f"draw_{way_of(method)}")
    launch(function, [scores, *buffers, keys, plan], 1, threads)


def numbers_of(name: str, given: Tensor) -> Tensor:
    """Numbers as the kernels take them, contiguous float32."""
    check_dtype(name, given)
    return given.to(torch.float32).contiguous()


@implement("draw")
def _run_draw(given: SimpleNamespace, index: Tensor, prob: Tensor) -> None:
    weights, method = numbers_of("weights", given.weights), method_of(given.method)
    seed = seed_of(given, method, weights.device)
    results = (index, prob, None, index.new_empty(()))
    draw_by(weights, given.n, method, Outcome(kind_of(method)), seed, results)


@implement("select")
def _run_select(
    given: SimpleNamespace,
    index: Tensor,
    weight: Tensor,
    score: Tensor,
    loss: Tensor,
    tau: Tensor,
    status: Tensor,
) -> None:
    rows, method = _metal_rows.rows_of(given), method_of(given.method)
    statistics = [_metal_rows.LOSS, _metal_rows.statistic_of("score", given.score)]
    outcome = outcome_of(kind_of(method), given.correction, given.exponent)
    seed = seed_of(given, method, rows.logits.device)
    ignored = Ignored()
    if rows.target is not None and rows.ignore_index is not None:
        ignored = Ignored(BY_TARGET, rows.target, rows.ignore_index)
    scores, results = [loss, score], (index, weight, tau, status)
    if not _fits_one_launch(rows, given, method):
        _metal_rows.run_rows(rows, statistics, scores)
        if given.features is not None:
            _metal_rows.multiply_by_features(given.features, score)
        draw_by(score, given.n, method, outcome, seed, results, ignored, given.smoothing)
        return
    count, classes = rows.logits.shape
    lanes = _lanes_of(count, classes)
    threads = threads_for(max(count * lanes, given.n))
    plan = plan_of(
        count,
        given.n,
        method,
        outcome,
        threads,
        has_tau=True,
        ignored=ignored,
        seed=seed,
        smoothing=given.smoothing,
    )
    spread = _metal_rows.Spread(lanes, threads, 1, classes)
    problem = _metal_rows.problem_of(rows, statistics, spread)
    buffers = [
        *_metal_rows.buffers_of(rows, scores),
        *draw_buffers(ignored, seed, *results),
        index,  # for the order of more rows than one launch takes
    ]
    function = kernel("select", f"select_{way_of(method)}", rows.logits.dtype)
    launch(function, [*buffers, problem, plan], 1, threads)


def _fits_one_launch(rows: _metal_rows.Rows, given: SimpleNamespace, method: int) -> bool:
    count, classes = rows.logits.shape
    most = MOST_SORTED if way_of(method) == "order" else MOST_FUSED_ROWS
    return (
        not rows.soft
        and given.features is None
        and count <= most
        and classes <= MOST_FUSED_CLASSES
        and count * classes <= MOST_FUSED_LOGITS
    )


def _lanes_of(rows: int, classes: int) -> int:
    """As many lanes for a row as leave each 16 classes, or 8 where there are threads to spare."""
    lanes = 1
    while classes > 16 * lanes or (classes > 8 * lanes and rows * 2 * lanes <= MOST_THREADS):
        lanes *= 2
    return lanes


@implement("smoothed")
def _run_smoothed(given: SimpleNamespace, weights: Tensor, tau: Tensor) -> None:
    scores = numbers_of("scores", given.scores)
    rows, ignored = scores.numel(), Ignored()
    if given.ignored is not None:
        ignored = Ignored(BY_MASK, given.ignored.contiguous())
    threads = threads_for(rows)
    plan = plan_of(rows, 1, 0, Outcome(0), threads, ignored=ignored, smoothing=given.smoothing)
    mask = scores if ignored.rows is None else ignored.rows
    launch(kernel("weights", "smooth"), [scores, mask, weights, tau, plan], 1, threads)


@implement("corrected")
def _run_corrected(given: SimpleNamespace, weight: Tensor) -> None:
    weight.copy_(numbers_of("prob", given.prob))
    drawn_by = numbers_of("drawn_by", given.drawn_by)
    n, kind = weight.numel(), named("kind", given.kind, KINDS)
    outcome = outcome_of(kind, given.correction, given.exponent)
    if n == 0:
        return
    threads = threads_for(n)
    plan = plan_of(given.rows, n, 0, outcome, threads)
    launch(kernel("weights", "correct"), [drawn_by, weight, plan], 1, threads)
