"""Any legal input gives what the reference gives."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import impsamp_fast as isf
from tests import reference
from tests.dtypes import DTYPES
from tests.methods import METHODS

pytestmark = pytest.mark.usefixtures("carried_operators")

KINDS = ["loss", "grad_norm", "last_layer", "p_wrong", "margin", "entropy"]


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, dict[str, object]]:
    """Logits of any legal shape, dtype, size and strides, a target and options."""
    shape = [*draw(st.lists(st.integers(1, 9), max_size=2)), draw(st.integers(1, 40))]
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([0.0, 1e-6, 0.1, 1.0, 5.0, 30.0, 1000.0]))
    step = draw(st.integers(1, 3))
    wide = (size * torch.randn([*shape[:-1], shape[-1] * step], generator=generator)).to(dtype)
    logits = wide[..., ::step]
    if draw(st.booleans()):
        masked = torch.rand(shape, generator=generator) < 0.3
        masked[..., 0] = False
        logits = logits.masked_fill(masked, -torch.inf)
    options: dict[str, object] = {
        "label_smoothing": draw(st.sampled_from([0.0, 0.0, 0.1, 1.0])),
        "class_weight": torch.rand(shape[-1], generator=generator).to(dtype)
        if draw(st.booleans())
        else None,
    }
    if draw(st.booleans()):
        target = torch.randint(shape[-1], shape[:-1], generator=generator)
        options["ignore_index"] = draw(st.sampled_from([-100, 0, 3]))
        if draw(st.booleans()):
            target = target.int()
    else:
        target = torch.randn(shape, generator=generator).softmax(-1).to(dtype)
    return logits, target, options


@settings(max_examples=500)
@given(batches(), st.sampled_from(KINDS))
def test_row_stats_and_score(
    batch: tuple[torch.Tensor, torch.Tensor, dict[str, object]], kind: str
) -> None:
    logits, target, options = batch
    features = torch.ones(*logits.shape[:-1], 2) if kind == "last_layer" else None
    actual = isf.row_stats(logits, target, **options)
    truth = reference.row_stats(logits, target, **options)
    tolerance = 1e-11 if logits.dtype == torch.float64 else 3e-6
    for value, expected in zip(actual, truth, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        isf.score(logits, target, kind, features, **options).double(),
        reference.score(logits, target, kind, features, **options),
        rtol=tolerance,
        atol=tolerance,
    )


@settings(max_examples=1000)
@given(
    weights=st.lists(
        st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 2.0**127, width=32)), min_size=1
    ),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    method=st.sampled_from(METHODS),
    seed=st.integers(-(2**63), 2**64 - 1),
    data=st.data(),
)
def test_draw(
    weights: list[float], dtype: torch.dtype, method: str, seed: int, data: st.DataObject
) -> None:
    w = torch.tensor(weights, dtype=dtype)
    positive = int(w.count_nonzero()) or len(w)
    n = data.draw(st.integers(1, positive if method in ("race", "pps", "topk") else 50))
    actual, truth = isf.draw(w, n, method, seed), reference.draw(w, n, method, seed)
    if method == "race":
        assert (actual.index == truth.index).double().mean() >= (n - 2) / n
        assert len(actual.index.unique()) == n
    else:
        assert torch.equal(actual.index, truth.index)
        torch.testing.assert_close(actual.prob.double(), truth.prob, rtol=3e-7, atol=1e-45)
