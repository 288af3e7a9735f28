"""Eager calls skip torch's dispatcher only where nobody could tell the difference."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode

import impsamp_fast as isf

LOGITS, TARGET = torch.randn(8, 3), torch.randint(3, (8,))


def test_fake_tensors_stay_fake():
    with FakeTensorMode():
        selection = isf.select(torch.randn(8, 3), torch.zeros(8, dtype=torch.int64), 2)
    assert selection.index.shape == (2,)
    assert selection.score.shape == (8,)


@pytest.mark.parametrize("mode", ["real", "fake"])
def test_tracing_records_the_operator(mode):
    graph = make_fx(lambda z, y: isf.score(z, y), tracing_mode=mode)(LOGITS, TARGET)
    assert "impsamp_fast.score" in graph.code


def test_lazily_negated_tensors_are_negated():
    negated = torch._neg_view(LOGITS)
    assert negated.is_neg()
    expected = isf.row_stats(-LOGITS, TARGET)
    for found, wanted in zip(isf.row_stats(negated, TARGET), expected, strict=True):
        assert torch.equal(found, wanted)
    with pytest.raises(ValueError, match="weights"):
        isf.draw(torch._neg_view(torch.rand(5) + 0.1), 2)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_vmap_maps():
    logits, target = torch.randn(4, 8, 3), torch.randint(3, (4, 8))
    assert torch.equal(torch.vmap(isf.score)(logits, target), isf.score(logits, target))


def test_function_transforms_see_a_constant():
    def weighted(w):
        return (isf.score(w, TARGET) * w.sum(1)).sum()

    gradient = torch.func.grad(weighted)(LOGITS)
    torch.testing.assert_close(gradient, isf.score(LOGITS, TARGET)[:, None].expand(8, 3))


def test_modes_and_profilers_see_the_operator():
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with Watch():
        isf.draw(torch.ones(5), 2, seed=2**64 - 1)
    assert "impsamp_fast.draw.default" in seen
    with profile() as record:
        isf.select(LOGITS, TARGET, 2)
    assert "impsamp_fast::select" in [event.key for event in record.key_averages()]
