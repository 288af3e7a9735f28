"""The reference against 100 digits, against torch, and against published and hand-made values."""

import pytest
import torch
import torch.nn.functional as F

from tests import reference
from tests.exact import exact_row


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_row_stats_against_100_digits(size: float, classes: int) -> None:
    logits = size * torch.randn(20, classes, dtype=torch.float64)
    logits[5] = size
    logits[6, 1:] = -torch.inf
    for y in range(classes):
        truth = [exact_row(row, y) for row in logits.tolist()]
        stats = reference.row_stats(logits, torch.full((20,), y))
        for name, value in stats._asdict().items():
            expected = torch.tensor([row[name] for row in truth], dtype=torch.float64)
            tolerance = 1e-15 if name == "margin" else 1e-100
            torch.testing.assert_close(value, expected, rtol=1e-11, atol=tolerance)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_loss_and_gradient_are_torchs(label_smoothing: float, weighted: bool, hard: bool) -> None:
    logits = torch.randn(40, 6, dtype=torch.float64, requires_grad=True)
    target = torch.randint(6, (40,)) if hard else torch.rand(40, 6, dtype=torch.float64)
    if hard:
        target[::7] = -100
    weight = torch.rand(6, dtype=torch.float64) if weighted else None
    loss = F.cross_entropy(
        logits, target, weight, reduction="none", label_smoothing=label_smoothing
    )
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    stats = reference.row_stats(
        logits.detach(), target, label_smoothing=label_smoothing, class_weight=weight
    )
    torch.testing.assert_close(stats.loss, loss.detach())
    torch.testing.assert_close(stats.grad_norm, gradient.norm(dim=-1))


def test_philox_gives_the_published_words() -> None:
    """Philox4x32-10 of counter 0 and key 0, from the known answers of Random123 (kat_vectors)."""
    words = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert reference.random_number(0, 0) == words[0] | words[1] << 32
    assert reference.random_number(0, 1) == words[2] | words[3] << 32


def test_fixed_point_by_hand() -> None:
    # Largest weight 4 = 2^2, four rows = 2 bits: one unit of weight is 2^(62 - 2 - 2).
    assert reference.fixed_point([1.0, 0.0, 4.0, 1e-30]) == [2**58, 0, 2**60, 1]
    assert reference.fixed_point([3.0]) == [3 * 2**61]
    assert sum(reference.fixed_point([1.99] * 1000)) < 2**63


def test_pps_by_hand() -> None:
    # 100 is certain; then 4 of the remaining 3 draws' average (1+2+4+1+1)/3 = 3 is certain too.
    draw = reference.draw(torch.tensor([1.0, 2.0, 0.0, 4.0, 100.0, 1.0, 1.0]), 4, "pps", seed=5)
    assert {3, 4} < set(draw.index.tolist())
    expected = torch.tensor([0.4, 0.8, 0.0, 1.0, 1.0, 0.4, 0.4], dtype=torch.float64)
    torch.testing.assert_close(draw.prob, expected[draw.index])
