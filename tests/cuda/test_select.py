"""The select kernels of CUDA, run on the host.

Scores may differ from the CPU's in the last bits (tests/cuda/test_rows.py says by how much), so
that a draw is compared with the CPU's draw by the scores that the kernels returned: the same rows,
weights and tau, bit for bit.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from impsamp_fast import Selection
from tests.cuda.shim_device import ShimDevice
from tests.dtypes import DTYPES
from tests.methods import METHODS
from tests.ops.test_corrected import KINDS
from tests.ops.test_select import CORRECTIONS
from tests.shim.device import result_type

SCORES = ["loss", "grad_norm", "last_layer", "p_wrong", "margin", "entropy"]
# [K, C] that one launch takes, and that need several.
ONE_LAUNCH = [(1, 1), (5, 2), (33, 3), (100, 64), (1024, 10), (1500, 2)]
SEVERAL = [(40, 65), (4097, 2), (3, 200)]


@pytest.fixture(scope="module")
def shuffled() -> Iterator[ShimDevice]:
    """The device with one order, for what takes long; odd addresses."""
    with ShimDevice(order=3, shift=1) as device:
        yield device


def problem(rows: int, classes: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return (2 * torch.randn(rows, classes)).to(dtype), torch.randint(classes, (rows,))


def assert_drawn_as_on_the_cpu(
    actual: Selection,
    target: Tensor,
    n: int,
    method: str = "multinomial",
    correction: str | float = "unbiased",
    smoothing: float = 0.0,
    seed: int = 0,
    ignore_index: int = -100,
    **_: Any,
) -> None:
    rows = len(actual.score)
    assert actual.status == 0
    hard = not target.is_floating_point()
    ignored = target == ignore_index if hard else torch.zeros(rows, dtype=torch.bool)
    weights, tau = isf.smoothed(actual.score, smoothing, ignored)
    drawn = isf.draw(weights, n, method, seed)
    by = weights[drawn.index]
    assert torch.equal(actual.index, drawn.index)
    assert torch.equal(actual.tau, tau)
    weight = isf.corrected(drawn.prob, by, rows, KINDS[method], correction)
    assert torch.equal(actual.weight, weight)


def assert_selects(
    device: ShimDevice, logits: Tensor, target: Tensor, n: int, score: str, **options: Any
) -> None:
    """Scores and losses are close to the CPU's, and the draw is the CPU's."""
    actual = device.select(logits, target, n, score, **options)
    kept = ("label_smoothing", "class_weight", "ignore_index")
    of_rows = {name: options[name] for name in kept if name in options}
    tolerance = 1e-11 if logits.dtype == torch.float64 else 1e-5
    close = {"rtol": tolerance, "atol": tolerance}
    features = options.get("features")
    scores = isf.score(logits, target, score, features, **of_rows)
    torch.testing.assert_close(actual.score, scores, **close)
    torch.testing.assert_close(actual.loss, isf.row_stats(logits, target, **of_rows).loss, **close)
    assert_drawn_as_on_the_cpu(actual, target, n, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(150, 6), (90, 70)], ids=["one launch", "several"])
def test_every_method_and_correction(shim: ShimDevice, method: str, shape: tuple[int, int]) -> None:
    logits, target = problem(*shape)
    target[::9] = -100
    for correction in CORRECTIONS:
        for smoothing in (0.0, 0.25, 1.0):
            options = {"correction": correction, "smoothing": smoothing, "seed": 4}
            assert_selects(shim, logits, target, 40, "grad_norm", method=method, **options)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_score_and_dtype(shim: ShimDevice, score: str, dtype: torch.dtype) -> None:
    for shape in ((200, 2), (70, 10), (20, 100)):
        logits, target = problem(*shape, dtype)
        features = torch.randn(shape[0], 7).to(dtype) if score == "last_layer" else None
        for method in ("multinomial", "race", "pps"):
            options = {"method": method, "features": features, "seed": 1}
            assert_selects(shim, logits, target, 11, score, **options)
        options = {"features": features, "label_smoothing": 0.1}
        assert_selects(shim, logits, target, 11, score, **options)
        soft = torch.rand(shape, dtype=result_type(logits)).softmax(-1)
        assert_selects(shim, logits, soft, 11, score, features=features, smoothing=0.5)


@pytest.mark.parametrize("shape", [*ONE_LAUNCH, *SEVERAL])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape(shuffled: ShimDevice, shape: tuple[int, int], dtype: torch.dtype) -> None:
    logits, target = problem(*shape, dtype)
    for method, n in (("multinomial", 128), ("systematic", 3), ("race", 1), ("pps", 1)):
        assert_selects(shuffled, logits, target, n, "p_wrong", method=method, smoothing=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("correction", ["normalized", 0.5])
def test_the_most_rows_of_one_launch(
    shuffled: ShimDevice, method: str, correction: str | float
) -> None:
    for dtype in shuffled.reals:
        logits, target = problem(4096, 16, dtype)
        options = {"method": method, "correction": correction, "seed": 2}
        assert_selects(shuffled, logits, target, 512, "loss", **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [9000, 66000])
def test_rows_for_the_whole_grid(shuffled: ShimDevice, rows: int, method: str) -> None:
    logits, target = problem(rows, 2)
    target[::5] = -100
    for correction in ("unbiased", "normalized", -1.0):
        options = {"method": method, "correction": correction, "smoothing": 0.0}
        assert_selects(shuffled, logits, target, 300, "grad_norm", **options)
    assert_selects(shuffled, logits, target, 300, "grad_norm", method=method, smoothing=0.5)


@pytest.mark.parametrize("classes", [5, 80])
def test_options_and_strides(shim: ShimDevice, classes: int) -> None:
    logits = torch.randn(classes, 2 * 60).t()[::2]
    target = torch.randint(classes, (120,), dtype=torch.int32)[1::2]
    options = {"class_weight": torch.rand(classes), "ignore_index": 3, "smoothing": 0.3}
    for score in ("loss", "margin"):
        for method in METHODS:
            assert_selects(shim, logits, target, 9, score, method=method, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [30, 66000])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_all_scores_zero_is_uniform(
    shuffled: ShimDevice, method: str, rows: int, smoothing: float
) -> None:
    logits, target = torch.zeros(rows, 1), torch.zeros(rows, dtype=torch.long)
    target[:10] = -100
    options: dict[str, Any] = {"method": method, "smoothing": smoothing}
    assert_selects(shuffled, logits, target, 20, "loss", **options)


def assert_failed(actual: Selection, status: int, fine: int | None = None) -> None:
    """All of index is the row ``fine``, if there is one."""
    assert actual.status == status
    modulo = torch.arange(len(actual.index)) % len(actual.score)
    assert torch.equal(actual.index, modulo if fine is None else torch.full_like(modulo, fine))
    assert (actual.weight == 0).all()
    assert actual.tau.isnan()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(30, 4), (30, 90), (66000, 2)])
def test_what_is_wrong_is_in_the_status(
    shuffled: ShimDevice, method: str, shape: tuple[int, int]
) -> None:
    logits, target = problem(*shape)
    n = shape[0] + 3
    bad = logits.clone()
    bad[[17, 20], 1] = torch.nan
    for smoothing in (0.0, 0.5):
        options: dict[str, Any] = {"method": method, "smoothing": smoothing}
        assert_failed(shuffled.select(bad, target, n, **options), 1 + 17, 0)
        wrong = target.clone()
        wrong[9] = shape[1]
        assert_failed(shuffled.select(logits, wrong, n, **options), 1 + 9, 0)
        nothing = torch.full_like(target, -100)
        assert_failed(shuffled.select(logits, nothing, n, **options), -1)
        nothing[4:6] = 0
        if method in ("race", "pps", "topk"):
            assert_failed(shuffled.select(logits, nothing, 3, **options), -1 - 2)
    infinite = logits.clone()
    infinite[7] = 0
    infinite[7, 0], target[7] = -torch.inf, 0
    assert_failed(shuffled.select(infinite, target, n, "loss", method), 1 + 7, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(30, 4), (30, 90), (66000, 2)])
def test_a_failed_draw_keeps_away_from_faulty_rows(
    shuffled: ShimDevice, method: str, shape: tuple[int, int]
) -> None:
    logits, target = problem(*shape)
    rows, classes = shape
    target[:3] = torch.tensor([classes, -100, -7])
    for smoothing in (0.0, 0.5):
        options: dict[str, Any] = {"method": method, "smoothing": smoothing}
        assert_failed(shuffled.select(logits, target, rows + 3, **options), 1 + 0, 3)
        lone = torch.full_like(logits, torch.nan)
        lone[rows - 1] = logits[rows - 1]
        assert_failed(shuffled.select(lone, target, 3, **options), 1 + 0, rows - 1)
        lone[rows - 1, 0] = torch.nan
        assert_failed(shuffled.select(lone, target, rows + 3, **options), 1 + 0)


@pytest.mark.parametrize("method", METHODS)
def test_little_shared_memory(method: str) -> None:
    """More launches where one would take more than a block may have: 64 KiB, as on sm_75."""
    with ShimDevice(order=3, shared_memory=64 * 1024) as device:
        for dtype, rows in ((torch.float32, 4096), (torch.float64, 2048), (torch.float32, 500)):
            logits, target = problem(rows, 16, dtype)
            for score in ("loss", "grad_norm"):
                options = {"method": method, "correction": "normalized", "seed": 2}
                assert_selects(device, logits, target, 100, score, **options)
