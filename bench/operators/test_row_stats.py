"""`row_stats` beside plain torch: `pytest bench/operators/test_row_stats.py`."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import impsamp_fast
from bench.operators.candidates import CANDIDATES, pick
from bench.operators.inputs import SIZES, logits_and_target
from bench.operators.peers import eager


@pytest.mark.parametrize(("K", "C"), SIZES)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_row_stats(benchmark: BenchmarkFixture, candidate: str, K: int, C: int) -> None:
    benchmark.group = f"row_stats, K={K}, C={C}"
    inputs = logits_and_target(K, C)
    function = pick(candidate, impsamp_fast.row_stats, eager.row_stats, *inputs)
    benchmark(function, *inputs)
