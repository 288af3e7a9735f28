"""The operators on Metal's kernels inside compiled graphs, and as the compiler sees them there."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import FakeTensorMode

import impsamp_fast as isf
from tests.cuda.test_compile import _fresh_compiler  # noqa: F401
from tests.metal.fake_mps import ByMetal, FakeMPS
from tests.methods import METHODS


@pytest.fixture(scope="module")
def mps() -> Iterator[FakeMPS]:
    with closing(FakeMPS(order=5)) as mps, mps.active():
        yield mps


def by_metal(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
    """Runs a compiled graph's operators on Metal's kernels."""

    def run(*arguments: Any) -> Any:
        with ByMetal():
            return graph(*arguments)

    return make_boxed_func(run)


BACKEND = aot_autograd(fw_compiler=by_metal)


@pytest.mark.parametrize("method", METHODS)
def test_compiled_results_are_the_eager_ones(mps: FakeMPS, method: str) -> None:
    logits, target = torch.randn(300, 4), torch.randint(4, (300,))

    def everything(logits: Tensor, target: Tensor, seed: Tensor) -> list[Tensor]:
        stats = isf.row_stats(logits, target, label_smoothing=0.1)
        drawn = isf.draw(stats.loss, 20, method, seed=3)
        picked = isf.select(logits, target, 20, "entropy", method, "normalized", seed=seed)
        return [*stats, *drawn, *picked]

    compiled = torch.compile(everything, fullgraph=True, backend=BACKEND)
    for number in (1, -9):
        seed = torch.full((), number, dtype=torch.int64)
        mps.forget_launches()
        found = compiled(logits, target, seed)
        assert len(mps.launches) == 3
        with ByMetal():
            expected = everything(logits, target, seed)
        assert all(map(torch.equal, found, expected))


def test_a_compiled_training_step_draws_and_learns(mps: FakeMPS) -> None:
    x, y = torch.randn(64, 5), torch.randint(3, (64,))
    model = torch.nn.Linear(5, 3)

    def loss(x: Tensor, y: Tensor, seed: Tensor) -> Tensor:
        chosen = isf.select(model(x).detach(), y, 16, seed=seed)
        logits = model(x[chosen.index])
        rows = torch.nn.functional.cross_entropy(logits, y[chosen.index], reduction="none")
        return (rows * chosen.weight).mean()

    compiled = torch.compile(loss, fullgraph=True, backend=BACKEND)
    for number in range(2):
        seed = torch.full((), number, dtype=torch.int64)
        found = torch.autograd.grad(compiled(x, y, seed), list(model.parameters()))
        with ByMetal():
            expected = torch.autograd.grad(loss(x, y, seed), list(model.parameters()))
        torch.testing.assert_close(found, expected)


def test_fake_tensors_stay_fake() -> None:
    with FakeTensorMode():
        target = torch.zeros(8, dtype=torch.int64, device="mps")
        logits = torch.randn(8, 3, device="mps")
        results = [
            *isf.row_stats(logits, target),
            *isf.draw(torch.rand(8, device="mps"), 2),
            *isf.select(logits, target, 2),
        ]
    assert {value.device.type for value in results} == {"mps"}


def test_arguments_on_two_devices_are_named() -> None:
    with FakeTensorMode():
        here, there = (torch.rand(8, 3, device=name) for name in ("cpu", "mps"))
        target = torch.zeros(8, dtype=torch.int64, device="mps")
        with pytest.raises(ValueError, match=r"target is on mps.*, but logits is on cpu"):
            isf.select(here, target, 2)
        with pytest.raises(ValueError, match="features is on cpu, but logits is on mps"):
            isf.score(there, target, "last_layer", here)
        with pytest.raises(ValueError, match="class_weight is on cpu, but logits is on mps"):
            isf.row_stats(there, target, class_weight=here[0])
