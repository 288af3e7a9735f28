"""`score` of each kind beside plain torch: `pytest bench/operators/test_score.py`."""

from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

import impsamp_fast
from bench.operators.candidates import CANDIDATES, pick
from bench.operators.inputs import SIZES, logits_and_target
from bench.operators.peers import eager


def grad_norm(logits: Tensor, target: Tensor) -> Tensor:
    return eager.row_stats(logits, target)[1]


def p_wrong(logits: Tensor, target: Tensor) -> Tensor:
    return 1.0 - logits.softmax(-1).gather(1, target[:, None]).squeeze(1)


def margin(logits: Tensor, target: Tensor) -> Tensor:
    p = logits.softmax(-1)
    p_true = p.gather(1, target[:, None])
    p_other = p.scatter(1, target[:, None], -1.0).amax(-1)
    return 1.0 - (p_true.squeeze(1) - p_other)


def entropy(logits: Tensor, target: Tensor) -> Tensor:
    return torch.special.entr(logits.softmax(-1)).sum(-1)


PEERS = {"loss": eager.losses} | {f.__name__: f for f in (grad_norm, p_wrong, margin, entropy)}


@pytest.mark.parametrize(("K", "C"), SIZES)
@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_score(benchmark: BenchmarkFixture, candidate: str, kind: str, K: int, C: int) -> None:
    benchmark.group = f"score {kind}, K={K}, C={C}"
    inputs = logits_and_target(K, C)
    ours = partial(impsamp_fast.score, kind=kind)
    benchmark(pick(candidate, ours, PEERS[kind], *inputs), *inputs)
