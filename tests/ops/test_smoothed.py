"""smoothed is what select draws by; tests/cuda/test_weights.py runs its CUDA kernel."""

import math

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests import reference


def tau_of(weights: Tensor) -> float:
    g = weights.double() / weights.double().sum()
    return math.sqrt(len(g) * g.square().sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e-37, 3e38])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_is_as_by_definition(dtype, smoothing, scale, with_ignored):
    scores = scale * torch.rand(40, dtype=dtype)
    ignored = torch.rand(40) < (0.4 if with_ignored else 0)
    truth = scores.double().masked_fill(ignored, 0)
    expected = reference.sampling_weights(truth, ignored, smoothing)
    found = isf.smoothed(scores, smoothing, ignored if with_ignored else None)
    assert found.weights.dtype == found.tau.dtype == dtype
    torch.testing.assert_close(found.weights.double(), expected, rtol=2e-7, atol=1e-44)
    assert float(found.tau) == pytest.approx(tau_of(expected), rel=2e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("method", ["multinomial", "pps", "race"])
def test_its_rows_are_those_of_select(smoothing, method):
    logits, target = torch.randn(60, 5), torch.randint(5, (60,))
    target[::7] = -100
    selection = isf.select(logits, target, 8, method=method, smoothing=smoothing, seed=4)
    found = isf.smoothed(selection.score, smoothing, target == -100)
    drawn = isf.draw(found.weights, 8, method, seed=4)
    assert torch.equal(drawn.index, selection.index)
    assert torch.equal(found.tau, selection.tau)


@pytest.mark.parametrize(("weights", "tau"), [([0.3] * 16, 1.0), ([0.0] * 15 + [2.0], 4.0)])
def test_tau_of_equal_and_of_single_weights(weights, tau):
    assert isf.smoothed(torch.tensor(weights)).tau.item() == pytest.approx(tau)


def test_a_chance_is_not_rounded_away():
    scores = torch.zeros(4)
    scores[0] = 1e-44
    assert (isf.smoothed(scores, 0.1).weights > 0).all()


def test_half_precision_becomes_float32():
    scores = torch.rand(9).half()
    assert torch.equal(isf.smoothed(scores).weights, scores.float())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(3), 1.5), ValueError, "smoothing is 1.5"),
        ((torch.ones(3, 2),), ValueError, r"scores has shape \[3, 2\]"),
        ((torch.ones(0),), ValueError, "scores has no rows"),
        ((torch.ones(3).long(),), TypeError, "scores has dtype Long"),
        ((torch.tensor([1.0, -2.0]),), ValueError, r"scores\[1\] is -2"),
        ((torch.tensor([1.0, math.nan]), 0.5), ValueError, r"scores\[1\] is nan"),
        ((torch.ones(3), 0.0, torch.ones(2).bool()), ValueError, r"ignored has shape \[2\]"),
        ((torch.ones(3), 0.0, torch.ones(3)), TypeError, "ignored has dtype Float"),
        ((torch.ones(3), 0.0, torch.ones(3).bool()), ValueError, "ignored is true in every row"),
        (([1.0],), TypeError, "scores is list"),
        ((torch.ones(3), "much"), TypeError, "smoothing is str"),
    ],
)
def test_names_a_wrong_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        isf.smoothed(*arguments)


def test_is_an_operator_that_compiles():
    operator = torch.ops.impsamp_fast.smoothed.default
    ignored = torch.arange(12) % 3 == 0
    torch.library.opcheck(operator, (torch.rand(12), 0.3, ignored))
    compiled = torch.compile(lambda s: isf.smoothed(s, 0.2).weights * 2, fullgraph=True)
    scores = torch.rand(12)
    assert torch.equal(compiled(scores), isf.smoothed(scores, 0.2).weights * 2)
