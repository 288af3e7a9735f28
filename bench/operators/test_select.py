"""`select` beside plain torch: `pytest bench/operators/test_select.py`."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import impsamp_fast
from bench.operators.candidates import CANDIDATES, pick
from bench.operators.inputs import SIZES, logits_and_target
from bench.operators.peers import eager


@pytest.mark.parametrize(("K", "C"), SIZES)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_select(benchmark: BenchmarkFixture, candidate: str, K: int, C: int) -> None:
    benchmark.group = f"select, K={K}, n={K // 8}, C={C}"
    inputs = (*logits_and_target(K, C), K // 8)
    function = pick(candidate, impsamp_fast.select, eager.select, *inputs)
    benchmark(function, *inputs)
