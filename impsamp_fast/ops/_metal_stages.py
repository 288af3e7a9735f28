"""A draw in stages on Apple GPUs, for rows that are in several parts."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from impsamp_fast.ops._metal import implement, kernel, launch, scalars
from impsamp_fast.ops._metal_draw import check_ordered, method_of, numbers_of, threads_for


def _run(
    stage: str, given: SimpleNamespace, buffers: list[Tensor], n: int = 1, method: str = "topk"
) -> None:
    """Launches a stage: what is known of the part comes first, where all parts are one draw."""
    weights = numbers_of("weights", given.weights)
    rows = weights.numel()
    if rows == 0:  # a buffer that nothing is read from
        weights = weights.new_zeros(1)
    known = [given.largest, given.rows] if hasattr(given, "largest") else []
    threads = threads_for(max(rows, n))
    plan = scalars("4q", rows, n, method_of(method), -(-rows // threads))
    arguments: list[Any] = [weights, *known, *buffers, plan]
    launch(kernel("stages", stage), arguments, 1, threads)


@implement("_draw_scan")
def _run_scan(given: SimpleNamespace, *results: Tensor) -> None:
    _run("draw_scan", given, list(results))


@implement("_draw_total")
def _run_total(given: SimpleNamespace, total: Tensor) -> None:
    _run("draw_total", given, [total])


@implement("_draw_part")
def _run_part(given: SimpleNamespace, *results: Tensor) -> None:
    buffers = [given.total, given.before, given.seed, *results]
    _run("draw_part", given, buffers, given.n, given.method)


@implement("_draw_first")
def _run_first(given: SimpleNamespace, key: Tensor, index: Tensor) -> None:
    check_ordered(given.weights.numel())
    keys = key.new_empty(max(64, 1 << (given.weights.numel() - 1).bit_length()))
    buffers = [given.first_row, given.seed, key, index, keys]
    _run("draw_first", given, buffers, given.n, given.method)


@implement("_draw_arrival_prob")
def _run_arrival_prob(given: SimpleNamespace, prob: Tensor) -> None:
    if prob.numel():
        _run("draw_arrival_prob", given, [given.next, prob])


@implement("_draw_certain")
def _run_certain(given: SimpleNamespace, counted: Tensor) -> None:
    _run("draw_certain", given, [given.found, counted], given.n)


@implement("_draw_by_size")
def _run_by_size(given: SimpleNamespace, *results: Tensor) -> None:
    buffers = [given.found, given.before, given.seed, *results]
    _run("draw_by_size", given, buffers, given.n)
