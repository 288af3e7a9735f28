"""Relative error of the statistics: at most 2e-6 for float32 logits of every size.

What is confident has a tiny loss and a tiny gradient, and is drawn by them: an error that is small
beside 1 is not small enough. The truth is computed in 100 digits, or by the reference in float64
(which tests/ops/test_reference.py holds against 100 digits).
"""

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests import reference
from tests.exact import (
    assert_close_norms,
    assert_relative,
    close_rows,
    exact_row,
    exact_soft_norm,
)

pytestmark = pytest.mark.usefixtures("carried_operators")

BOUND = 2e-6
SIZES = [10.0**k for k in range(-30, 5)]


def assert_accurate(logits: Tensor, target: Tensor, what: str = "") -> None:
    stats, truth = isf.row_stats(logits, target), reference.row_stats(logits, target)
    assert_relative(stats.loss, truth.loss, BOUND, f"loss, {what}")
    assert_relative(stats.grad_norm, truth.grad_norm, BOUND, f"grad_norm, {what}")
    assert_relative(stats.p_true, truth.p_true, BOUND, f"p_true, {what}")
    assert_entropy(stats.entropy, truth.entropy, truth.p_true, BOUND, what)
    torch.testing.assert_close(stats.margin.double(), truth.margin, rtol=BOUND, atol=BOUND)


def assert_entropy(
    actual: Tensor, truth: Tensor, p_true: Tensor, bound: float, what: str = ""
) -> None:
    """Relative where the target leads (a confident row is told from a more confident one).

    Where another class leads, the row scores high by any other kind, and the bound holds for the
    absolute error.
    """
    leads = p_true > 0.5
    assert_relative(actual[leads], truth[leads], bound, f"entropy, {what}")
    torch.testing.assert_close(actual[~leads].double(), truth[~leads], rtol=bound, atol=bound)


def awkward_rows(size: float, classes: int) -> Tensor:
    """Rows of one size: spread, tied, nearly tied, one class ahead or behind, some masked."""
    spread = size * torch.randn(8, classes)
    tied = torch.full((1, classes), size)
    nearly = size * (1 + 1e-6 * torch.randn(2, classes))
    ahead = size * torch.rand(3, classes)
    ahead[:, 0] += torch.tensor([5.0, 20.0, 60.0])
    last_ahead = ahead.flip(-1)
    masked = size * torch.randn(4, classes)
    masked[:, 1::2] = -torch.inf
    only = torch.full((1, classes), -torch.inf)
    only[:, 0] = size
    rows = torch.cat([spread, tied, -tied, nearly, ahead, -ahead, last_ahead, masked, only])
    return rows.float()


@pytest.mark.parametrize("size", SIZES)
def test_every_size_against_100_digits(size: float) -> None:
    for classes in (2, 3, 10, 33):
        logits = awkward_rows(size, classes)
        for y in {0, classes // 2, classes - 1}:
            target = torch.full((len(logits),), y)
            truth = [exact_row(row, y) for row in logits.tolist()]
            stats = isf.row_stats(logits, target)
            exact = {
                name: torch.tensor([row[name] for row in truth], dtype=torch.float64)
                for name in truth[0]
            }
            what = f"of {classes} classes of size {size}, target {y}"
            for name in ("loss", "grad_norm", "p_true"):
                assert_relative(getattr(stats, name), exact[name], BOUND, f"{name} {what}")
            assert_entropy(stats.entropy, exact["entropy"], exact["p_true"], BOUND, what)
            for kind, name in (("p_wrong", "p_wrong"), ("margin", "margin_score")):
                value = isf.score(logits, target, kind)
                assert_relative(value, exact[name], BOUND, f"score {kind} {what}")


@pytest.mark.parametrize("classes", [2, 3, 9, 64, 1000])
def test_target_ahead_by_every_gap(classes: int) -> None:
    """From a tie to a loss at the end of the float32 range, at offsets that make z - m round."""
    gap = torch.linspace(0, 88, 2001)
    for offset in (0.0, 20.3, -71.7, 1e3):
        logits = 0.5 * torch.rand(len(gap), classes) + offset
        logits[:, 1] += gap
        assert_accurate(logits, torch.ones(len(gap)).long(), f"{classes} classes at {offset}")


@pytest.mark.parametrize("classes", [2, 3, 9, 64, 1000])
def test_another_class_ahead_by_every_gap(classes: int) -> None:
    gap = torch.linspace(0, 120, 2001)
    for offset in (0.0, 20.3, -71.7, 1e3):
        logits = 0.5 * torch.rand(len(gap), classes) + offset
        logits[:, 1] += gap
        assert_accurate(logits, torch.zeros(len(gap)).long(), f"{classes} classes at {offset}")


def test_many_tiny_probabilities_make_a_normal_loss() -> None:
    """Each e^(z - m) is below the float32 range, their sum is not."""
    for gap in (86.0, 88.5, 90.0, 93.0):
        logits = torch.zeros(4, 20_000)
        logits[:, 7] = gap + torch.arange(4) / 4
        assert_accurate(logits, torch.full((4,), 7), f"gap {gap}")


@pytest.mark.parametrize("classes", [30, 100, 300, 1000, 5000])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_many_small_terms_beside_a_large_one(classes: int, layout: str) -> None:
    """One class leads, and all others together weigh as much: none of them may be rounded away."""
    gap = torch.linspace(7, 25, 37)
    for leader in (0, classes // 2, classes - 1):
        logits = 0.01 * torch.rand(len(gap), classes)
        logits[:, leader] = gap
        logits = logits if layout == "rows" else logits.t().contiguous().t()
        for y in (leader, (leader + 1) % classes):
            target = torch.full((len(gap),), y)
            what = f"{leader} leads, target {y}"
            assert_accurate(logits, target, what)
            smoothed = isf.row_stats(logits, target, label_smoothing=0.1).loss
            truth = reference.row_stats(logits, target, label_smoothing=0.1).loss
            assert_relative(smoothed, truth, BOUND, f"smoothed loss, {what}")


@pytest.mark.parametrize("classes", [5000, 50_000])
def test_wide_rows(classes: int) -> None:
    for size in (1e-3, 1.0, 10.0, 100.0):
        logits = size * torch.randn(8, classes)
        assert_accurate(logits, torch.randint(classes, (8,)), f"size {size}")
        assert_accurate(logits, logits.argmax(-1), f"size {size}, target ahead")
        ramp = torch.linspace(-size, size, classes).repeat(2, 1)
        ramp[1] = ramp[1].flip(0)
        assert_accurate(ramp, torch.tensor([0, 0]), f"ramp of size {size}")


def test_largest_and_smallest_numbers() -> None:
    """No overflow inside: only a loss that float32 cannot hold is infinite."""
    large, small = torch.finfo(torch.float32).max, 1e-45
    logits = torch.tensor(
        [[large, 0.0], [0.0, large], [large, large], [-large, large], [small, 0.0], [-large, 0.0]]
    )
    for y in (0, 1):
        target = torch.full((len(logits),), y)
        stats, truth = isf.row_stats(logits, target), reference.row_stats(logits, target)
        for name in ("loss", "grad_norm", "p_true"):
            expected = getattr(truth, name).float()
            assert_relative(getattr(stats, name), expected, BOUND, f"{name}, target {y}")
        assert_entropy(stats.entropy, truth.entropy, truth.p_true, BOUND)


@pytest.mark.parametrize("classes", [2, 10, 333])
def test_float64_keeps_its_precision(classes: int) -> None:
    for size in (1e-30, 1e-5, 1.0, 50.0):
        logits = size * torch.randn(50, classes, dtype=torch.float64)
        logits[0, 0] += 300.0
        for target in (torch.randint(classes, (50,)), logits.argmax(-1)):
            stats, truth = isf.row_stats(logits, target), reference.row_stats(logits, target)
            for name in ("loss", "grad_norm", "p_true"):
                assert_relative(getattr(stats, name), getattr(truth, name), 1e-12, name)
            assert_entropy(stats.entropy, truth.entropy, truth.p_true, 1e-12)


def test_smoothed_and_weighted_loss_is_accurate() -> None:
    """Here every term of the loss is positive too, so its relative error has the same bound."""
    for size in (1e-3, 1.0, 30.0):
        logits, target = size * torch.randn(200, 10), torch.randint(10, (200,))
        options = {"label_smoothing": 0.1, "class_weight": torch.rand(10) + 0.01}
        stats = isf.row_stats(logits, target, **options)
        truth = reference.row_stats(logits, target, **options)
        assert_relative(stats.loss, truth.loss, BOUND, f"loss, size {size}")
        torch.testing.assert_close(
            stats.grad_norm.double(), truth.grad_norm, rtol=BOUND, atol=BOUND
        )


def test_class_weight_keeps_the_relative_error() -> None:
    logits = torch.tensor([[20.0, 0.0, 0.0], [60.0, 1.0, 0.5], [0.0, 50.0, 1.0]])
    target, weight = torch.tensor([0, 0, 1]), torch.tensor([0.5, 3.0, 1.0])
    stats = isf.row_stats(logits, target, class_weight=weight)
    truth = reference.row_stats(logits, target, class_weight=weight)
    assert_relative(stats.loss, truth.loss, BOUND, "loss")
    assert_relative(stats.grad_norm, truth.grad_norm, BOUND, "grad_norm")


def test_one_hot_probabilities_keep_the_relative_error() -> None:
    logits = torch.tensor([[20.0, 0.0, 0.0], [60.0, 1.0, 0.5], [0.0, 50.0, 1.0]])
    one_hot = torch.nn.functional.one_hot(torch.tensor([0, 0, 1]), 3).float()
    stats, truth = isf.row_stats(logits, one_hot), reference.row_stats(logits, one_hot)
    assert_relative(stats.loss, truth.loss, BOUND, "loss")
    assert_relative(stats.grad_norm, truth.grad_norm, BOUND, "grad_norm")


@pytest.mark.parametrize("size", [0.1, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("classes", [2, 3, 10, 33, 100, 1000])
def test_gradient_norm_close_to_the_optimum(classes: int, size: float) -> None:
    """Where p - t cancels, for class probabilities with and without class weights."""
    for what, logits, target in close_rows(classes, size):
        assert_close_norms(isf.score(logits, target), logits, target, what=what)
    weight = torch.rand(classes) + 0.1
    target = (logits.softmax(-1) / weight).softmax(-1)
    near = (target * weight).log() + 1e-3 * torch.randn(target.shape)
    found = isf.score(near, target, class_weight=weight)
    assert_close_norms(found, near, target, class_weight=weight, what="weighted")


@pytest.mark.parametrize("label_smoothing", [1e-3, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 10, 100, 1000])
def test_gradient_norm_at_the_optimum_of_label_smoothing(
    classes: int, label_smoothing: float
) -> None:
    target = torch.randint(classes, (16,))
    one_hot = torch.nn.functional.one_hot(target, classes).float()
    optimum = ((1 - label_smoothing) * one_hot + label_smoothing / classes).log()
    for distance in (0.0, 1e-6, 1e-3, 0.1, 0.5):
        logits = optimum + distance * torch.randn(16, classes)
        found = isf.score(logits, target, label_smoothing=label_smoothing)
        assert_close_norms(found, logits, one_hot, label_smoothing, what=f"{distance} off")


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("classes", [1, 2, 3, 16, 17, 33, 250, 1000, 5000])
def test_label_smoothing(classes: int, layout: str) -> None:
    """Where p - t does not cancel, the relative error of loss and norm has the same bound."""
    for size in (0.1, 1.0, 10.0, 100.0):
        logits = size * torch.randn(16, classes)
        logits[8] = torch.linspace(-size, size, classes)
        logits[9] = logits[8].flip(-1)
        logits[10:] += 1e3
        logits = logits if layout == "rows" else logits.t().contiguous().t()
        target = torch.randint(classes, (16,))
        for label_smoothing in (1e-3, 0.1, 1.0):
            stats = isf.row_stats(logits, target, label_smoothing=label_smoothing)
            truth = reference.row_stats(logits, target, label_smoothing=label_smoothing)
            what = f"size {size}, smoothing {label_smoothing}"
            assert_relative(stats.loss, truth.loss, BOUND, f"loss, {what}")
            assert_relative(stats.grad_norm, truth.grad_norm, BOUND, f"grad_norm, {what}")
            assert_relative(stats.p_true, truth.p_true, BOUND, f"p_true, {what}")


@pytest.mark.parametrize("classes", [4, 40, 400, 4000])
def test_label_smoothing_of_masked_classes(classes: int) -> None:
    """A masked class costs an infinite loss, and its gradient is that of a probability of 0."""
    logits, target = torch.randn(8, classes), torch.arange(8) % 2
    logits[:, 2 :: classes // 4] = -torch.inf
    logits[7, 2:] = -torch.inf
    stats = isf.row_stats(logits, target, label_smoothing=0.1)
    truth = reference.row_stats(logits, target, label_smoothing=0.1)
    assert stats.loss.tolist() == [torch.inf] * 8
    assert_relative(stats.grad_norm, truth.grad_norm, BOUND, "grad_norm")


@pytest.mark.parametrize("gap", [20.0, 60.0, 80.0])
@pytest.mark.parametrize("scale", [1e-11, 1.0, 1e11])
def test_gradient_norm_of_confident_targets_and_rows(gap: float, scale: float) -> None:
    logits = torch.randn(16, 10)
    logits[:, 3] += gap
    weight = torch.full((10,), scale)
    for distance in (0.0, 1e-5, 1e-2):
        target = (logits.double() + distance * torch.randn(16, 10)).softmax(-1).float()
        found = isf.score(logits, target, class_weight=weight)
        assert_close_norms(found, logits, target, class_weight=weight, what=f"{distance} off")


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_gradient_norm_close_to_the_optimum_in_float64(classes: int) -> None:
    for size in (0.1, 5.0, 30.0):
        logits = size * torch.randn(8, classes, dtype=torch.float64)
        for distance in (0.0, 1e-6, 0.1):
            target = (logits + distance * torch.randn(8, classes)).softmax(-1)
            found = isf.score(logits, target).tolist()
            for actual, z, t in zip(found, logits.tolist(), target.tolist(), strict=True):
                norm, away = exact_soft_norm(z, t)
                assert abs(actual - norm) <= 1e-12 * norm + 2e-14 * away
    one_hot = torch.nn.functional.one_hot(torch.arange(8) % classes, classes).double()
    for distance in (0.0, 1e-6, 0.1):
        logits = (0.9 * one_hot + 0.1 / classes).log() + distance * torch.randn(8, classes)
        found = isf.score(logits, torch.arange(8) % classes, label_smoothing=0.1).tolist()
        for actual, z, t in zip(found, logits.tolist(), one_hot.tolist(), strict=True):
            norm, away = exact_soft_norm(z, t, 0.1)
            assert abs(actual - norm) <= 1e-12 * norm + 2e-14 * away


def test_no_gradient_at_all() -> None:
    for classes in (2, 4, 64):
        logits = torch.full((3, classes), 1.5)
        uniform = torch.full((3, classes), 1 / classes)
        assert isf.score(logits, uniform).tolist() == [0.0] * 3
        logits[:, classes // 2 :] = -torch.inf
        uniform[:, : classes // 2], uniform[:, classes // 2 :] = 2 / classes, 0.0
        assert isf.score(logits, uniform).tolist() == [0.0] * 3
