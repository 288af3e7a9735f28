"""The operators under torch.library's checks and inside compiled graphs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

import impsamp_fast as isf
from tests.methods import METHODS

OPS = torch.ops.impsamp_fast


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def logits_and_target(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(shape).to(dtype), torch.randint(shape[-1], shape[:-1])


CHECKED: dict[str, tuple[Any, Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]]] = {
    "row_stats": (OPS.row_stats, lambda: (logits_and_target(8, 5), {})),
    "row_stats-options": (
        OPS.row_stats,
        lambda: (logits_and_target(2, 3, 5), {"label_smoothing": 0.1, "ignore_index": 2}),
    ),
    "row_stats-weighted": (
        OPS.row_stats,
        lambda: (logits_and_target(8, 5), {"class_weight": torch.rand(5)}),
    ),
    "row_stats-float64": (
        OPS.row_stats,
        lambda: (logits_and_target(8, 5, dtype=torch.float64), {}),
    ),
    "row_stats-bfloat16": (
        OPS.row_stats,
        lambda: (logits_and_target(8, 5, dtype=torch.bfloat16), {}),
    ),
    "row_stats-probabilities": (
        OPS.row_stats,
        lambda: ((torch.randn(8, 5), torch.rand(8, 5).softmax(-1)), {}),
    ),
    "row_stats-nothing ignored": (
        OPS.row_stats,
        lambda: (logits_and_target(8, 5), {"ignore_index": None}),
    ),
    "row_stats-transposed": (
        OPS.row_stats,
        lambda: ((torch.randn(5, 8).t(), torch.randint(5, (8,))), {}),
    ),
    "row_stats-one row": (OPS.row_stats, lambda: (logits_and_target(5), {})),
    "score": (OPS.score, lambda: (logits_and_target(8, 5), {"kind": "entropy"})),
    "score-features": (
        OPS.score,
        lambda: (
            logits_and_target(2, 4, 5),
            {"kind": "last_layer", "features": torch.randn(2, 4, 3).half()},
        ),
    ),
    "select-leading": (OPS.select, lambda: ((*logits_and_target(2, 9, 5), 4), {"seed": 3})),
    "select-float64": (
        OPS.select,
        lambda: ((*logits_and_target(9, 5, dtype=torch.float64), 4), {"seed": 3}),
    ),
}
for _method in METHODS:
    CHECKED[f"draw-{_method}"] = (
        OPS.draw,
        lambda method=_method: ((torch.rand(20), 6, method), {"seed": 4}),
    )
    CHECKED[f"select-{_method}"] = (
        OPS.select,
        lambda method=_method: (
            (*logits_and_target(20, 5), 6),
            {"score": "loss", "method": method, "smoothing": 0.2, "seed": 4},
        ),
    )
CHECKED["draw-float64"] = (OPS.draw, lambda: ((torch.rand(20).double(), 6), {"seed": 4}))
CHECKED["draw-half"] = (OPS.draw, lambda: ((torch.rand(20).half(), 6), {"seed": 4}))


def with_out(
    operator: Any, arguments: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]
) -> tuple[Any, Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]]:
    """The same call of the overload that writes to tensors it is given."""

    def arguments_and_out() -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = arguments()
        results = operator(*args, **kwargs)
        results = results if isinstance(results, tuple) else (results,)
        names = [a.name for a in operator.out._schema.arguments if a.name.startswith("out_")]
        places = [torch.empty_like(result) for result in results]
        return args, kwargs | dict(zip(names, places, strict=True))

    return operator.out, arguments_and_out


for _name, (_operator, _arguments) in list(CHECKED.items()):
    CHECKED[f"{_name}-out"] = with_out(_operator, _arguments)
    CHECKED[_name] = (_operator.default, _arguments)
for _name in ("draw-race-out", "select-pps-out"):
    _operator, _arguments = CHECKED[_name]

    def _with_device_seed(
        arguments: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]] = _arguments,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = arguments()
        return args, kwargs | {"seed": None, "device_seed": torch.tensor(4)}

    CHECKED[f"{_name}-device seed"] = (_operator, _with_device_seed)


@pytest.mark.parametrize("name", CHECKED)
def test_opcheck(name: str) -> None:
    operator, arguments = CHECKED[name]
    args, kwargs = arguments()
    torch.library.opcheck(operator, args, kwargs)


def test_tags() -> None:
    for operator in (OPS.draw, OPS.select):
        for overload in (operator.default, operator.out):
            assert torch.Tag.nondeterministic_seeded in overload.tags
    for operator in (OPS.row_stats, OPS.score):
        for overload in (operator.default, operator.out):
            assert torch.Tag.nondeterministic_seeded not in overload.tags


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_compiled_draw_is_the_eager_draw(method: str, dynamic: bool) -> None:
    compiled = torch.compile(isf.draw, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for seed in (0, -5, 2**64 - 1):
        weights = torch.rand(300)
        eager = isf.draw(weights, 64, method, seed)
        assert all(map(torch.equal, compiled(weights, 64, method, seed), eager))


def test_compiled_results_keep_their_names() -> None:
    logits, target = logits_and_target(30, 4)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def everything(logits: Tensor, target: Tensor) -> list[Tensor]:
        stats = isf.row_stats(logits, target, label_smoothing=0.1)
        score = isf.score(logits, target, "margin", ignore_index=1)
        drawn = isf.draw(stats.loss, 5, seed=1)
        picked = isf.select(logits, target, 5, "entropy", "pps", "normalized", seed=1)
        biased = isf.select(logits, target, 5, correction=0.5, smoothing=0.1, seed=1)
        return [*stats, score, drawn.index, drawn.prob, *picked, biased.weight]

    results = everything(logits, target)
    stats = isf.row_stats(logits, target, label_smoothing=0.1)
    expected = [
        *stats,
        isf.score(logits, target, "margin", ignore_index=1),
        *isf.draw(stats.loss, 5, seed=1),
        *isf.select(logits, target, 5, "entropy", "pps", "normalized", seed=1),
        isf.select(logits, target, 5, correction=0.5, smoothing=0.1, seed=1).weight,
    ]
    assert all(map(torch.equal, results, expected))


def test_manual_seed_decides_in_a_compiled_graph_too() -> None:
    weights = torch.rand(1000)
    compiled = torch.compile(lambda w: isf.draw(w, 100).index, fullgraph=True, backend="aot_eager")
    torch.manual_seed(3)
    eager = [isf.draw(weights, 100).index for _ in range(3)]
    torch.manual_seed(3)
    inside = [compiled(weights) for _ in range(3)]
    assert all(map(torch.equal, eager, inside))
    assert not torch.equal(inside[0], inside[1])


def test_two_equal_draws_are_not_merged() -> None:
    """Common subexpressions are one computation, unless they are random."""

    @torch.compile(fullgraph=True)
    def twice(weights: Tensor) -> tuple[Tensor, Tensor]:
        return isf.draw(weights, 100).index, isf.draw(weights, 100).index

    first, second = twice(torch.rand(1000))
    assert not torch.equal(first, second)


def test_changing_seeds_and_batches_do_not_compile_again() -> None:
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=counter, dynamic=True)
    def pick(logits: Tensor, target: Tensor, seed: int) -> Tensor:
        return isf.select(logits, target, 8, seed=seed).index

    compilations = []
    for seed in range(2, 12):
        logits, target = logits_and_target(50 + seed, 4)
        expected = isf.select(logits, target, 8, seed=seed).index
        assert torch.equal(pick(logits, target, seed), expected)
        compilations.append(counter.frame_count)
    assert len(set(compilations)) == 1


def weighted_loss(
    model: nn.Module, x: Tensor, y: Tensor, seed: int | Tensor
) -> tuple[Tensor, Tensor]:
    """One training step's loss: score the large batch, pick rows, weigh their losses."""
    with torch.no_grad():
        logits = model(x)
    picked = isf.select(logits, y, 32, "grad_norm", "stratified", smoothing=0.1, seed=seed)
    loss = F.cross_entropy(model(x[picked.index]), y[picked.index], reduction="none")
    return (picked.weight * loss).mean(), picked.index


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_whole_training_step(backend: str) -> None:
    x, y = torch.randn(256, 10), torch.randint(4, (256,))
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step = weighted_loss
        if compiled:
            step = torch.compile(weighted_loss, fullgraph=True, backend=backend)
        losses = []
        for seed in range(5):
            loss, index = step(model, x, y, seed)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append((loss.detach(), index))
        results.append((losses, [p.detach() for p in model.parameters()]))
    (eager, eager_parameters), (graph, graph_parameters) = results
    for (eager_loss, eager_index), (loss, index) in zip(eager, graph, strict=True):
        assert torch.equal(eager_index, index)
        torch.testing.assert_close(loss, eager_loss)
    torch.testing.assert_close(graph_parameters, eager_parameters)


def test_backward_in_the_same_graph() -> None:
    """torch.func.grad puts forward, select and backward into one graph."""
    model = nn.Linear(6, 3)
    x, y = torch.randn(100, 6), torch.randint(3, (100,))

    def gradient(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> dict[str, Tensor]:
        def loss(parameters: dict[str, Tensor]) -> Tensor:
            logits = torch.func.functional_call(model, parameters, (x,))
            picked = isf.select(logits.detach(), y, 16, seed=7)
            losses = F.cross_entropy(logits[picked.index], y[picked.index], reduction="none")
            return (picked.weight * losses).mean()

        return torch.func.grad(loss)(parameters)

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")(parameters, x, y)

    picked = isf.select(model(x), y, 16, seed=7)
    losses = F.cross_entropy(model(x[picked.index]), y[picked.index], reduction="none")
    (picked.weight * losses).mean().backward()
    torch.testing.assert_close(compiled, {name: p.grad for name, p in model.named_parameters()})


def test_results_never_require_grad() -> None:
    """Whichever argument does, and without a warning."""

    @torch.compile(fullgraph=True, backend="aot_eager")
    def everything(
        logits: Tensor, target: Tensor, weight: Tensor, features: Tensor
    ) -> list[Tensor]:
        return [
            *isf.row_stats(logits, target, class_weight=weight),
            isf.score(logits, target, "last_layer", features),
            *isf.draw(weight, 2),
            *isf.select(logits, target, 4, "last_layer", features=features, class_weight=weight),
        ]

    for i in range(4):
        probabilities = torch.rand(8, 5).softmax(-1)
        arguments = [torch.rand(8, 5), probabilities, torch.rand(5), torch.rand(8, 3)]
        arguments[i].requires_grad_()
        assert not any(value.requires_grad for value in everything(*arguments))
