"""Eager calls go through torch's dispatcher: modes, transforms and users' kernels see them."""

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


OF_LOGITS = {
    "row_stats": lambda z: isf.row_stats(z, TARGET).loss.sum(),
    "row_stats, class weight": lambda z: isf.row_stats(
        LOGITS, TARGET, class_weight=z[0]
    ).loss.sum(),
    "score": lambda z: isf.score(z, TARGET).sum(),
    "score, features": lambda z: isf.score(LOGITS, TARGET, "last_layer", z).sum(),
    "draw": lambda z: isf.draw(z[:, 0], 2).prob.sum(),
    "select": lambda z: isf.select(z, TARGET, 2).weight.sum(),
    "in vmap": lambda z: torch.vmap(isf.score)(z[None], TARGET[None]).sum(),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", OF_LOGITS)
def test_function_transforms_cannot_differentiate(name):
    function, z = OF_LOGITS[name], LOGITS.abs()
    transforms = {
        "grad": lambda: torch.func.grad(function)(z),
        "vjp": lambda: torch.func.vjp(function, z),
        "jvp": lambda: torch.func.jvp(function, (z,), (z,)),
        "jacrev": lambda: torch.func.jacrev(function)(z),
        "jacfwd": lambda: torch.func.jacfwd(function, randomness="same")(z),
        "grad in vmap": lambda: torch.vmap(torch.func.grad(function), randomness="same")(z[None]),
    }
    for transform in transforms.values():
        with pytest.raises(RuntimeError, match=r"is not differentiated.*detach its arguments"):
            transform()


def test_function_transforms_see_a_detached_constant():
    def detached(w):
        return (isf.score(w.detach(), TARGET) * w.sum(1)).sum()

    def without_grad(w):
        with torch.no_grad():
            score = isf.score(w, TARGET)
        return (score * w.sum(1)).sum()

    for weighted in (detached, without_grad):
        gradient = torch.func.grad(weighted)(LOGITS)
        torch.testing.assert_close(gradient, isf.score(LOGITS, TARGET)[:, None].expand(8, 3))


def test_leaves_that_require_grad_pass_through_the_dispatcher():
    logits = LOGITS.clone().requires_grad_()
    found = torch.ops.impsamp_fast.score(logits, TARGET)
    assert torch.equal(found, isf.score(LOGITS, TARGET))
    assert not found.requires_grad


MAPPED = {
    "draw": lambda z: isf.draw(z[:, 0], 20).index,
    "draw, not mapped": lambda z: isf.draw(LOGITS[:, 0].abs(), 20).index + 0 * z[0, 0].long(),
    "select": lambda z: isf.select(z, TARGET, 20).index,
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", MAPPED)
def test_vmap_decides_on_the_randomness_of_draws(name):
    function, batch = MAPPED[name], LOGITS.abs().expand(3, 8, 3)
    with pytest.raises(RuntimeError, match='randomness="error"'):
        torch.vmap(function)(batch)
    same = torch.vmap(function, randomness="same")
    first, second = same(batch), same(batch)
    assert torch.equal(first, first[:1].expand(3, 20))
    assert not torch.equal(first, second)
    different = torch.vmap(function, randomness="different")(batch)
    assert len({tuple(rows) for rows in different.tolist()}) == 3


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("randomness", ["error", "same", "different"])
def test_what_is_not_random_maps_whatever_the_randomness(randomness):
    weights = torch.rand(3, 8)
    for options in ({"seed": 5}, {"method": "topk"}):
        mapped = torch.vmap(lambda w, o=options: isf.draw(w, 4, **o), randomness=randomness)
        expected = [isf.draw(w, 4, **options).index for w in weights]
        assert torch.equal(mapped(weights).index, torch.stack(expected))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_vmap_draws_by_the_generator():
    weights = torch.rand(3, 8)
    generator = torch.Generator()
    for randomness in ("same", "different"):
        mapped = torch.vmap(
            lambda w: isf.draw(w, 9, generator=generator).index, randomness=randomness
        )
        drawn = []
        for _ in range(2):
            generator.manual_seed(1)
            drawn.append(mapped(weights))
        assert torch.equal(*drawn)


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


@pytest.mark.parametrize("compiled", [False, True])
def test_a_kernel_that_is_registered_again_is_called(compiled):
    score = torch.compile(isf.score, backend="aot_eager", fullgraph=True) if compiled else isf.score
    expected = isf.score(LOGITS, TARGET, "loss")
    with torch.library._scoped_library("impsamp_fast", "IMPL") as library:
        library.impl("score", lambda logits, *_: logits.new_full(logits.shape[:-1], 7.0), "CPU")
        assert score(LOGITS, TARGET, "loss").tolist() == [7.0] * 8
    assert torch.equal(isf.score(LOGITS, TARGET, "loss"), expected)


def test_tensors_without_values_give_results_without_values():
    selection = isf.select(LOGITS.to("meta"), TARGET.to("meta"), 2)
    assert all(value.is_meta for value in selection)
    assert selection.weight.shape == (2,)
