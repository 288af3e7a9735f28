"""The operators on a GPU under torch.library's checks, torch's modes and its compiler."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import impsamp_fast as isf
from tests.devices import carry
from tests.methods import METHODS
from tests.ops.test_compile import CHECKED, weighted_loss


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", CHECKED)
def test_opcheck(name: str, gpu: torch.device) -> None:
    operator, arguments = CHECKED[name]
    args, kwargs = arguments()
    args = tuple(carry(value, gpu) for value in args)
    kwargs = {key: carry(value, gpu) for key, value in kwargs.items()}
    overload = operator if isinstance(operator, torch._ops.OpOverload) else operator.default
    torch.library.opcheck(overload, args, kwargs)


def test_fake_tensors_stay_fake(gpu: torch.device) -> None:
    with FakeTensorMode():
        target = torch.zeros(8, dtype=torch.int64, device=gpu)
        selection = isf.select(torch.randn(8, 3, device=gpu), target, 2)
    assert selection.index.shape == (2,)
    assert selection.score.device == gpu


def test_lazily_negated_tensors_are_negated(gpu: torch.device) -> None:
    logits, target = torch.randn(8, 3, device=gpu), torch.arange(8, device=gpu) % 3
    found, expected = isf.score(torch._neg_view(logits), target), isf.score(-logits, target)
    assert torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_vmap_maps(gpu: torch.device) -> None:
    logits = torch.randn(4, 8, 3, device=gpu)
    target = torch.randint(3, (4, 8), device=gpu)
    assert torch.equal(torch.vmap(isf.score)(logits, target), isf.score(logits, target))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_results_are_the_eager_ones(method: str, backend: str, gpu: torch.device) -> None:
    logits, target = torch.randn(300, 4, device=gpu), torch.randint(4, (300,), device=gpu)

    def everything(logits: Tensor, target: Tensor, seed: Tensor) -> list[Tensor]:
        stats = isf.row_stats(logits, target, label_smoothing=0.1)
        drawn = isf.draw(stats.loss, 20, method, seed=3)
        picked = isf.select(logits, target, 20, "entropy", method, "normalized", seed=seed)
        return [*stats, *drawn, *picked]

    compiled = torch.compile(everything, fullgraph=True, backend=backend)
    for number in (1, -9):
        seed = torch.full((), number, dtype=torch.int64, device=gpu)
        found, expected = compiled(logits, target, seed), everything(logits, target, seed)
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_whole_training_step(mode: str, gpu: torch.device) -> None:
    """Also where the compiler captures graphs of its own, as it does on CUDA."""
    x, y = torch.randn(256, 10, device=gpu), torch.randint(4, (256,), device=gpu)

    def train(step: Any) -> tuple[list[float], list[Tensor]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4)).to(gpu)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses = []
        for number in range(6):
            torch.compiler.cudagraph_mark_step_begin()
            loss, index = step(model, x, y, torch.full_like(y[0], number))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            assert index.unique().numel() > 1
        return losses, [parameter.detach() for parameter in model.parameters()]

    expected = train(weighted_loss)
    found = train(torch.compile(weighted_loss, fullgraph=True, mode=mode))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_drawn_from_the_generator_in_a_compiled_graph(gpu: torch.device) -> None:
    weights = torch.rand(1000, device=gpu)
    compiled = torch.compile(lambda w: isf.draw(w, 100).index, fullgraph=True)
    torch.manual_seed(3)
    first = [compiled(weights).clone() for _ in range(3)]
    torch.manual_seed(3)
    assert all(torch.equal(compiled(weights), rows) for rows in first)
    assert not torch.equal(first[0], first[1])
