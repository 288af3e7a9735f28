"""The row kernels of CUDA, run on the host: as accurate as the CPU's, by the same measures."""

import pytest
import torch
from torch import Tensor

from tests import reference
from tests.cuda.shim_device import ShimDevice
from tests.exact import assert_close_norms, assert_relative, close_rows, exact_row
from tests.ops.test_accuracy import BOUND, SIZES, assert_entropy, awkward_rows


def assert_accurate(shim: ShimDevice, logits: Tensor, target: Tensor, what: str = "") -> None:
    stats, truth = shim.row_statistics(logits, target), reference.row_stats(logits, target)
    for name in ("loss", "grad_norm", "p_true"):
        assert_relative(stats[name], getattr(truth, name), BOUND, f"{name}, {what}")
    assert_entropy(stats["entropy"], truth.entropy, truth.p_true, BOUND, what)
    torch.testing.assert_close(stats["margin"].double(), truth.margin, rtol=BOUND, atol=BOUND)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_against_100_digits(one_order: ShimDevice, size: float) -> None:
    for classes in (2, 3, 33):
        logits = awkward_rows(size, classes)
        for y in (0, classes - 1):
            target = torch.full((len(logits),), y)
            truth = [exact_row(row, y) for row in logits.tolist()]
            exact = {
                name: torch.tensor([row[name] for row in truth], dtype=torch.float64)
                for name in truth[0]
            }
            exact["margin_lack"] = exact["margin_score"]
            stats = one_order.row_statistics(logits, target)
            what = f"of {classes} classes of size {size}, target {y}"
            for name in ("loss", "grad_norm", "p_true", "p_wrong", "margin_lack"):
                assert_relative(stats[name], exact[name], BOUND, f"{name} {what}")
            assert_entropy(stats["entropy"], exact["entropy"], exact["p_true"], BOUND, what)


@pytest.mark.parametrize("leads", ["target", "another"])
@pytest.mark.parametrize("classes", [2, 9, 300])
def test_every_gap(one_order: ShimDevice, classes: int, leads: str) -> None:
    gap = torch.linspace(0, 88 if leads == "target" else 120, 401)
    for offset in (0.0, 20.3, -71.7, 1e3):
        logits = 0.5 * torch.rand(len(gap), classes) + offset
        logits[:, 1] += gap
        target = torch.full((len(gap),), int(leads == "target"))
        assert_accurate(one_order, logits, target, f"{classes} classes at {offset}")


@pytest.mark.parametrize("classes", [30, 300, 5000])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_many_small_terms_beside_a_large_one(
    one_order: ShimDevice, classes: int, layout: str
) -> None:
    gap = torch.linspace(7, 25, 10)
    for leader in (0, classes - 1):
        logits = 0.01 * torch.rand(len(gap), classes)
        logits[:, leader] = gap
        logits = logits if layout == "rows" else logits.t().contiguous().t()
        for y in (leader, (leader + 1) % classes):
            target = torch.full((len(gap),), y)
            assert_accurate(one_order, logits, target, f"{leader} leads, target {y}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, -7.3, 1000.1])
def test_equal_logits_of_wide_rows(one_order: ShimDevice, value: float, dtype: torch.dtype) -> None:
    logits = torch.full((1, 128 * 1024 + 3), value).to(dtype)
    assert_accurate(one_order, logits, torch.tensor([77]), f"all {value}")


@pytest.mark.parametrize("size", [1e-3, 1.0, 10.0, 100.0])
def test_wide_rows(one_order: ShimDevice, size: float) -> None:
    logits = size * torch.randn(2, 50_000)
    assert_accurate(one_order, logits, torch.randint(50_000, (2,)), "random")
    assert_accurate(one_order, logits, logits.argmax(-1), "target ahead")
    ramp = torch.linspace(-size, size, 50_000).repeat(2, 1)
    ramp[1] = ramp[1].flip(0)
    assert_accurate(one_order, ramp, torch.tensor([0, 0]), "ramp")


def test_many_tiny_probabilities_make_a_normal_loss(one_order: ShimDevice) -> None:
    for gap in (86.0, 88.5, 93.0):
        logits = torch.zeros(4, 20_000)
        logits[:, 7] = gap + torch.arange(4) / 4
        assert_accurate(one_order, logits, torch.full((4,), 7), f"gap {gap}")


@pytest.mark.parametrize("copies", [1, 200])
def test_largest_and_smallest_numbers(one_order: ShimDevice, copies: int) -> None:
    """No overflow inside: only a loss that float32 cannot hold is infinite."""
    large, small = torch.finfo(torch.float32).max, 1e-45
    pairs = [[large, 0.0], [0.0, large], [large, large], [-large, large], [small, 0.0]]
    pairs += [[-large, 0.0], [-large, -large], [1e30, 1e30], [-1e30, -2e30]]
    for power in range(20, 34):  # across the size from which terms are computed differently
        for sign in (1.0, -1.0):
            pairs += [
                [sign * 2.0**power, sign * 2.0**power],
                [sign * 2.0**power, sign * 1.5 * 2**power],
            ]
    logits = torch.tensor(pairs).repeat(1, copies)
    for y in (0, 1):
        target = torch.full((len(logits),), y)
        stats, truth = one_order.row_statistics(logits, target), reference.row_stats(logits, target)
        for name in ("loss", "grad_norm", "p_true"):
            expected = getattr(truth, name).float()
            assert_relative(stats[name], expected, BOUND, f"{name}, target {y}")
        assert_entropy(stats["entropy"], truth.entropy, truth.p_true, BOUND)


@pytest.mark.parametrize("classes", [2, 10, 333])
def test_float64_keeps_its_precision(one_order: ShimDevice, classes: int) -> None:
    for size in (1e-30, 1e-5, 1.0, 50.0):
        logits = size * torch.randn(20, classes, dtype=torch.float64)
        logits[0, 0] += 300.0
        for target in (torch.randint(classes, (20,)), logits.argmax(-1)):
            stats, truth = (
                one_order.row_statistics(logits, target),
                reference.row_stats(logits, target),
            )
            for name in ("loss", "grad_norm", "p_true"):
                assert_relative(stats[name], getattr(truth, name), 1e-12, name)
            assert_entropy(stats["entropy"], truth.entropy, truth.p_true, 1e-12)


def test_soft_targets_keep_the_relative_error(one_order: ShimDevice) -> None:
    logits = torch.tensor([[20.0, 0.0, 0.0], [60.0, 1.0, 0.5], [0.0, 50.0, 1.0], [86.0, 0.0, 0.0]])
    one_hot = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 0]), 3).float()
    stats, truth = one_order.row_statistics(logits, one_hot), reference.row_stats(logits, one_hot)
    assert_relative(stats["loss"], truth.loss, BOUND, "loss")
    assert_relative(stats["grad_norm"], truth.grad_norm, BOUND, "grad_norm")
    for size in (1e-3, 1.0, 30.0):
        logits, target = size * torch.randn(50, 10), torch.randint(10, (50,))
        options = {"label_smoothing": 0.1, "class_weight": torch.rand(10) + 0.01}
        stats = one_order.row_statistics(logits, target, **options)
        expected = reference.row_stats(logits, target, **options).loss
        assert_relative(stats["loss"], expected, BOUND, f"loss, size {size}")


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1e-12, 1.0, 1e15, 1e37])
def test_gradient_norms_of_every_size(one_order: ShimDevice, scale: float) -> None:
    """The squares leave the range of float32, the norm does not."""
    logits, target = torch.randn(4, 6), torch.rand(4, 6).softmax(-1)
    weight = torch.full((6,), scale)
    stats = one_order.row_statistics(logits, target, class_weight=weight)
    truth = reference.row_stats(logits, target, class_weight=weight)
    assert_relative(stats["grad_norm"], truth.grad_norm, 4e-6, "grad_norm")


@pytest.mark.parametrize("size", [0.1, 5.0])
@pytest.mark.parametrize("classes", [2, 10, 33, 1029])
def test_gradient_norms_close_to_the_optimum(shim: ShimDevice, classes: int, size: float) -> None:
    """Some rows of a warp are close, its neighbours are not."""
    for what, logits, target in close_rows(classes, size, rows=5):
        target[2] = target[2].flip(0)
        found = shim.row_statistics(logits, target)["grad_norm"]
        assert_close_norms(found, logits, target, what=what)
    target = torch.randint(classes, (5,))
    one_hot = torch.nn.functional.one_hot(target, classes).float()
    logits = (0.9 * one_hot + 0.1 / classes).log() + 1e-3 * torch.randn(5, classes)
    found = shim.row_statistics(logits, target, label_smoothing=0.1)["grad_norm"]
    assert_close_norms(found, logits, one_hot, 0.1)
