"""`draw` by each method beside its peers: `pytest bench/operators/test_draw.py`."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import impsamp_fast
from bench.operators.peers import PEERS
from bench.operators.peers.jobs import BY_METHOD
from tests.methods import METHODS

SIZES = [(1024, 128), (2**20, 2**16)]
# Nobody offers the other methods.
PAIRS = [
    (method, name) for method, job in BY_METHOD.items() for name in PEERS if job in PEERS[name].jobs
]


def weights_of(K: int) -> Tensor:
    return torch.rand(K, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("K", "n"), SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_ours(benchmark: BenchmarkFixture, method: str, K: int, n: int) -> None:
    benchmark.group = f"draw {method}, K={K}, n={n}"
    weights = weights_of(K)
    benchmark(lambda: impsamp_fast.draw(weights, n, method))


@pytest.mark.parametrize(("K", "n"), SIZES)
@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_peer(benchmark: BenchmarkFixture, method: str, name: str, K: int, n: int) -> None:
    benchmark.group = f"draw {method}, K={K}, n={n}"
    peer = PEERS[name]
    if reason := peer.available():
        pytest.skip(reason)
    benchmark(peer.jobs[BY_METHOD[method]](weights_of(K), n))
