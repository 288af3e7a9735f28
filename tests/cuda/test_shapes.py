"""The GPU's kernels at the edges of their cases: how rows are shared out, alignment, large offsets.

What the results mean is tested in the files that every device shares; here sizes go where one way
to run a problem ends and another begins, and far beyond.
"""

import itertools

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests import reference
from tests.devices import CPU, assert_the_cpus_prob, carry
from tests.dtypes import DTYPES
from tests.exact import assert_relative
from tests.methods import METHODS, WITH_REPLACEMENT
from tests.ops.test_corrected import KINDS

BOUND = 2e-6
MOST = 2**24  # logits of one problem: the truth is computed in float64


def truth_of(logits: Tensor, target: Tensor, **options: object) -> isf.RowStats:
    """The reference on the device of the logits, which large problems need; the CPU's for MPS."""
    if logits.device.type == "mps":
        options = {name: carry(value, CPU) for name, value in options.items()}
        return reference.row_stats(logits.cpu(), target.cpu(), **options)
    with torch.device(logits.device):
        return reference.row_stats(logits, target, **options)


def assert_like_truth(logits: Tensor, target: Tensor, **options: object) -> None:
    truth = truth_of(logits, target, **options)
    there = truth.loss.device
    found = isf.RowStats(*(x.to(there) for x in isf.row_stats(logits, target, **options)))
    bound = 1e-11 if logits.dtype == torch.float64 else BOUND
    what = f"{tuple(logits.shape)}, strides {logits.stride()}, {logits.dtype}"
    assert_relative(found.loss, truth.loss, bound, f"loss, {what}")
    assert_relative(found.p_true, truth.p_true, bound, f"p_true, {what}")
    if not options:
        assert_relative(found.grad_norm, truth.grad_norm, bound, f"grad_norm, {what}")
    for name in ("grad_norm", "margin", "entropy"):
        torch.testing.assert_close(
            getattr(found, name).double(), getattr(truth, name), rtol=bound, atol=3 * bound
        )
    for kind in ("loss", "grad_norm", "entropy"):
        score = isf.score(logits, target, kind, **options).to(there)
        torch.testing.assert_close(score, getattr(found, kind), rtol=4e-6, atol=4e-6)


def random_rows(
    rows: int, classes: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    logits = (3 * torch.randn(rows, classes, device=device)).to(dtype)
    return logits, torch.randint(classes, (rows,), device=device)


CLASSES = [
    *(1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257),
    *(1000, 1023, 1024, 1025, 2049, 3000, 4096, 4097, 8191, 16_384, 16_385, 32_000, 50_257),
    *(65_537, 128_256, 262_145, 1_000_003),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", CLASSES)
def test_every_way_to_share_out_rows(classes: int, dtype: torch.dtype, gpu: torch.device) -> None:
    for rows in (1, 2, 5, 33, 131, 1025):
        if rows * classes <= MOST:
            logits, target = random_rows(rows, classes, dtype, gpu)
            assert_like_truth(logits, target)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 10, 33, 1000, 4097, 50_257, 128_256])
@pytest.mark.parametrize("rows", [3, 150])
def test_options_at_every_width(
    rows: int, classes: int, dtype: torch.dtype, gpu: torch.device
) -> None:
    logits, target = random_rows(rows, classes, dtype, gpu)
    target[1] = -100
    weight = torch.rand(classes, device=gpu) + 0.1
    soft = torch.randn(rows, classes, device=gpu).softmax(-1)
    assert_like_truth(logits, target, label_smoothing=0.1)
    assert_like_truth(logits, target, class_weight=weight)
    assert_like_truth(logits, target, label_smoothing=0.1, class_weight=weight)
    assert_like_truth(logits, soft.to(dtype), label_smoothing=0.2, class_weight=weight)


def test_many_rows(gpu: torch.device) -> None:
    for rows, classes in ((2**21 + 1, 2), (2**20 + 3, 10), (100_003, 100)):
        assert_like_truth(*random_rows(rows, classes, torch.float32, gpu))


@pytest.mark.parametrize("classes", [5000, 128_256, 1_000_003])
@pytest.mark.parametrize("rows", [1, 200])
def test_equal_logits_add_up(rows: int, classes: int, gpu: torch.device) -> None:
    """A long sum of equal terms is where float32 loses most."""
    if rows * classes <= 4 * MOST:
        target = torch.zeros(rows, dtype=torch.int64, device=gpu)
        assert_like_truth(torch.zeros(rows, classes, device=gpu), target)
        logits = torch.full((rows, classes), 2.5, device=gpu)
        logits[:, 0] = 17.0
        assert_like_truth(logits, target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 7, 64, 1001, 5003, 40_000])
def test_any_alignment(classes: int, dtype: torch.dtype, gpu: torch.device) -> None:
    """Every place of a row's first logit within 16 bytes, and every step from row to row."""
    rows = 19
    memory = (3 * torch.randn(rows * (classes + 9) + 9, device=gpu)).to(dtype)
    target = torch.randint(classes, (rows,), device=gpu)
    for offset, gap in itertools.product(range(9), (0, 1, 3, 8)):
        logits = memory.as_strided((rows, classes), (classes + gap, 1), offset)
        found = isf.row_stats(logits, target)
        expected = isf.row_stats(logits.contiguous(), target)
        for name, value in found._asdict().items():
            torch.testing.assert_close(value, getattr(expected, name), rtol=4e-6, atol=4e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_stride(dtype: torch.dtype, gpu: torch.device) -> None:
    for rows, classes in ((40, 2), (70, 33), (9, 5000), (3, 60_000)):
        memory = (3 * torch.randn(rows * classes * 2 + 1, device=gpu)).to(dtype)
        target = torch.randint(classes, (2 * rows,), device=gpu)[::2]
        for strides in ((1, rows), (2 * classes, 2), (0, 1), (1, 0), (1, 1), (classes, 1)):
            assert_like_truth(memory.as_strided((rows, classes), strides, 1), target)


@pytest.mark.cuda  # a Mac may not have the memory
def test_offsets_beyond_32_bits(cuda: torch.device) -> None:
    step = 2**30
    memory = torch.zeros(2 * step + 5000, dtype=torch.bfloat16, device=cuda)
    for shape, strides in (((3, 1000), (step, 1)), ((1000, 3), (1, step)), ((3, 3), (1, step))):
        logits = memory.as_strided(shape, strides, 7)
        logits.copy_(3 * torch.randn(shape, device=cuda))
        assert_like_truth(logits, torch.randint(shape[1], shape[:1], device=cuda))
        logits.zero_()


@pytest.mark.cuda  # a Mac may not have the memory
def test_more_than_2_to_the_31_logits(cuda: torch.device) -> None:
    classes = 5003
    rows = 2**31 // classes + 5
    logits = torch.zeros(rows, classes, dtype=torch.bfloat16, device=cuda)
    tail = (3 * torch.randn(40, classes, device=cuda)).bfloat16()
    logits[-40:] = tail
    target = torch.arange(rows, device=cuda) % classes
    found, expected = isf.row_stats(logits, target), truth_of(tail, target[-40:])
    assert_relative(found.loss[-40:], expected.loss, BOUND, "loss")
    assert_relative(found.grad_norm[-40:], expected.grad_norm, BOUND, "grad_norm")


@pytest.mark.parametrize("width", [1, 3, 4, 128, 1001, 4096])
@pytest.mark.parametrize("dtype", DTYPES)
def test_last_layer_at_every_width(width: int, dtype: torch.dtype, gpu: torch.device) -> None:
    rows, result = 517, torch.float64 if dtype == torch.float64 else torch.float32
    logits, target = random_rows(rows, 10, result, gpu)
    memory = torch.randn(rows * (width + 1) + 3, device=gpu).to(dtype)
    for features in (
        memory[: rows * width].view(rows, width),
        memory.as_strided((rows, width), (width + 1, 1), 3),
        memory.as_strided((rows, width), (1, 1), 1),
    ):
        found = isf.score(logits, target, "last_layer", features)
        norm = truth_of(logits, target).grad_norm
        h = features.to(norm.device).double()
        expected = norm * (1 + h.square().sum(-1)).sqrt()
        bound = 1e-11 if result == torch.float64 else 4e-6
        assert_relative(found.to(norm.device), expected, bound, str(width))


ROWS = [
    *(1, 2, 31, 32, 33, 127, 128, 1023, 1024, 1025, 2047, 4095, 4096, 4097, 8192, 10_000),
    *(65_535, 65_536, 65_537, 131_073, 1_000_003),
]
WEIGHTS = {
    "random": lambda rows: torch.rand(rows),
    "half zero": lambda rows: torch.rand(rows) * (torch.rand(rows) < 0.5),
    "decades": lambda rows: 10.0 ** (40 * torch.rand(rows) - 20),
    "equal": lambda rows: torch.full((rows,), 0.3),
    "all zero": lambda rows: torch.zeros(rows),
    "float64": lambda rows: 10.0 ** (400 * torch.rand(rows, dtype=torch.float64) - 200),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", ROWS)
def test_draws_are_the_cpus(rows: int, method: str, gpu: torch.device) -> None:
    """Index by index, and with the same probabilities."""
    for name, make in WEIGHTS.items():
        weights = make(rows)
        if weights.dtype == torch.float64 and gpu.type == "mps":
            continue
        positive = int(weights.count_nonzero()) or rows
        for n in {1, 33, 1000, rows // 3, 70_000, positive - 1, positive}:
            if n < 1 or (method not in WITH_REPLACEMENT and n > positive):
                continue
            for seed in (1, -7) if rows < 2**16 else (1,):
                found = isf.draw(weights.to(gpu), n, method, seed)
                expected = isf.draw(weights, n, method, seed)
                assert torch.equal(found.index.cpu(), expected.index), (name, n, seed)
                assert_the_cpus_prob(found.prob, expected.prob, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("rows", "classes"),
    [
        *((1, 2), (33, 1), (1024, 2), (1024, 10), (1025, 16), (4096, 2), (4096, 16), (4096, 64)),
        *((4096, 65), (4097, 2), (2000, 1000), (300, 50_257), (65_536, 10), (65_537, 10)),
        *((200_001, 3), (1_000_003, 2)),
    ],
)
def test_select_is_score_and_draw(rows: int, classes: int, method: str, gpu: torch.device) -> None:
    """In one launch, in two and in several: the same rows and weights, from the same scores."""
    logits, target = random_rows(rows, classes, torch.float32, gpu)
    if rows > 40:
        target[::7] = -100
    stats = isf.row_stats(logits, target)
    for correction, smoothing in (
        ("unbiased", 0.0),
        ("normalized", 0.0),
        (0.5, 0.0),
        ("none", 0.3),
    ):
        scored = (
            isf.score(logits, target).count_nonzero() if smoothing == 0 else (target >= 0).sum()
        )
        n = max(1, min(rows // 8, int(scored)))
        picked = isf.select(
            logits, target, n, method=method, correction=correction, smoothing=smoothing, seed=9
        )
        assert picked.status.item() == 0
        torch.testing.assert_close(picked.score, stats.grad_norm, rtol=4e-6, atol=1e-12)
        torch.testing.assert_close(picked.loss, stats.loss, rtol=4e-6, atol=1e-12)
        assert (target[picked.index] >= 0).all() or not stats.grad_norm.any()
        weights, tau = isf.smoothed(picked.score.cpu(), smoothing, (target < 0).cpu())
        drawn = isf.draw(weights, n, method, 9)
        assert torch.equal(picked.index.cpu(), drawn.index)
        assert torch.equal(picked.tau.cpu(), tau)
        by = weights[drawn.index]
        weight = isf.corrected(drawn.prob, by, rows, KINDS[method], correction)
        assert torch.equal(picked.weight.cpu(), weight)


def test_the_same_call_gives_the_same_bits(gpu: torch.device) -> None:
    for rows, classes in ((1024, 10), (3, 200_000), (8000, 1000), (100_000, 2)):
        logits, target = random_rows(rows, classes, torch.float32, gpu)
        first = (*isf.row_stats(logits, target), *isf.select(logits, target, 2, "loss", seed=1))
        for _ in range(5):
            again = (*isf.row_stats(logits, target), *isf.select(logits, target, 2, "loss", seed=1))
            assert all(map(torch.equal, first, again))
