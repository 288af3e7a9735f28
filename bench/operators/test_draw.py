"""`draw` by each method beside torch.multinomial and topk: `pytest bench/test_draw.py`."""

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import impsamp_fast
from tests.methods import METHODS

SIZES = [(1024, 128), (2**20, 2**16)]
# What torch offers for the same job; it has nothing for the other methods.
PEERS: dict[str, Callable[[Tensor, int], object]] = {
    "multinomial": lambda weights, n: torch.multinomial(weights, n, replacement=True),
    "race": lambda weights, n: torch.multinomial(weights, n),
    "topk": lambda weights, n: weights.topk(n),
}


def weights_of(K: int) -> Tensor:
    return torch.rand(K, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("K", "n"), SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_ours(benchmark: BenchmarkFixture, method: str, K: int, n: int) -> None:
    benchmark.group = f"draw {method}, K={K}, n={n}"
    weights = weights_of(K)
    benchmark(lambda: impsamp_fast.draw(weights, n, method))


@pytest.mark.parametrize(("K", "n"), SIZES)
@pytest.mark.parametrize("method", PEERS)
def test_plain_torch(benchmark: BenchmarkFixture, method: str, K: int, n: int) -> None:
    benchmark.group = f"draw {method}, K={K}, n={n}"
    benchmark(PEERS[method], weights_of(K), n)
