"""corrected gives the weights of select; tests/cuda/test_weights.py runs its CUDA kernel."""

import math

import pytest
import torch

import impsamp_fast as isf
from tests import reference
from tests.methods import METHODS, WITH_REPLACEMENT

KINDS = dict.fromkeys(WITH_REPLACEMENT, "with replacement")
KINDS |= {"race": "without replacement", "pps": "without replacement", "topk": "deterministic"}
CORRECTIONS = ["unbiased", "normalized", "none", 0.5, -1.0, 0.0, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_is_as_by_definition(method, correction, dtype):
    weights = torch.rand(50, dtype=dtype)
    drawn = isf.draw(weights, 8, method, seed=5)
    by = weights[drawn.index]
    expected = reference.corrected(drawn.prob.double(), by.double(), 50, method, correction)
    found = isf.corrected(drawn.prob, by, 50, KINDS[method], correction)
    assert found.dtype == dtype
    tolerance = 3e-7 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_its_weights_are_those_of_select(method, correction):
    logits, target = torch.randn(60, 5), torch.randint(5, (60,))
    found = isf.select(logits, target, 8, method=method, correction=correction, seed=4)
    drawn = isf.draw(found.score, 8, method, seed=4)
    by = found.score[drawn.index]
    weight = isf.corrected(drawn.prob, by, 60, KINDS[method], correction)
    assert torch.equal(weight, found.weight)


@pytest.mark.parametrize("correction", [-14.0, 14.0])
def test_powers_neither_overflow_nor_vanish(correction):
    prob = torch.tensor([1e-9] * 3 + [0.999])
    by = torch.tensor([1e30] * 4)
    expected = reference.corrected(prob.double(), by.double(), 1024, "multinomial", correction)
    found = isf.corrected(prob, by, 1024, "with replacement", correction)
    assert found.isfinite().all()
    normal = expected > 1e-37
    assert normal.any()
    torch.testing.assert_close(found[normal].double(), expected[normal], rtol=1e-6, atol=0)
    assert (found[~normal] <= 1e-36).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(3), torch.ones(2), 9, "deterministic"), ValueError, r"drawn_by has shape"),
        ((torch.ones(3, 1), torch.ones(3, 1), 9, "deterministic"), ValueError, "prob has shape"),
        ((torch.ones(3), torch.ones(3), 0, "deterministic"), ValueError, "rows is 0"),
        ((torch.ones(3), torch.ones(3), 9, "random"), ValueError, 'kind is "random", but must be'),
        (
            (torch.ones(3), torch.ones(3), 9, "deterministic", "fair"),
            ValueError,
            'correction is "fair"',
        ),
        (
            (torch.ones(3), torch.ones(3), 9, "with replacement", math.inf),
            ValueError,
            "correction is inf",
        ),
        ((torch.ones(3).long(), torch.ones(3), 9, "deterministic"), TypeError, "prob has dtype"),
        ((torch.ones(3), None, 9, "deterministic"), TypeError, "drawn_by is NoneType"),
    ],
)
def test_names_a_wrong_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        isf.corrected(*arguments)


def test_is_an_operator_that_compiles():
    operator = torch.ops.impsamp_fast.corrected.default
    arguments = (torch.rand(6), torch.rand(6), 40, "with replacement")
    torch.library.opcheck(operator, arguments)
    torch.library.opcheck(operator, (*arguments, "unbiased", 0.5))
    compiled = torch.compile(
        lambda p, w: isf.corrected(p, w, 40, "with replacement"), fullgraph=True
    )
    assert torch.equal(compiled(*arguments[:2]), isf.corrected(*arguments))


def test_weights_never_require_grad() -> None:
    prob = torch.rand(5, requires_grad=True)
    for correction in ("unbiased", "normalized", 0.5):
        weight = isf.corrected(prob, torch.rand(5), 9, "with replacement", correction)
        assert not weight.requires_grad
