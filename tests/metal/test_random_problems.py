"""Picks and probabilities are the CPU's, whatever the problem.

IMPSAMP_RANDOM_PROBLEMS says how many are tried, 10,000 for a thorough look.
"""

import os
from contextlib import closing

import pytest
import torch

import impsamp_fast as isf
from tests.metal.device import MetalDevice
from tests.metal.fake_mps import FakeMPS
from tests.methods import METHODS, WITH_REPLACEMENT

PROBLEMS = int(os.environ.get("IMPSAMP_RANDOM_PROBLEMS", "200"))


def random_weights(rows: int, generator: torch.Generator) -> torch.Tensor:
    """Over few or many orders of magnitude, some of them zero, equal or subnormal."""
    spread = float(torch.rand((), generator=generator)) * 30
    weights = (spread * torch.randn(rows, generator=generator)).exp().clamp(max=1e38)
    kind = int(torch.randint(4, (), generator=generator))
    if kind == 1:
        weights[torch.rand(rows, generator=generator) < 0.5] = 0
    if kind == 2:
        weights = torch.randint(3, (rows,), generator=generator).float()
    return weights


@pytest.mark.parametrize("flush", [False, True], ids=["", "subnormals are flushed"])
def test_every_draw_is_the_cpus(flush: bool) -> None:
    generator = torch.Generator().manual_seed(7)
    with closing(FakeMPS(order=23, flush=flush)) as mps:
        device = MetalDevice(mps)
        for number in range(PROBLEMS):
            rows = int(torch.randint(1, 400 if number % 20 else 4000, (), generator=generator))
            weights = random_weights(rows, generator)
            method = METHODS[number % len(METHODS)]
            positive = int((weights > 0).sum()) or rows
            most = 500 if method in WITH_REPLACEMENT else min(positive, 500)
            n = int(torch.randint(1, most + 1, (), generator=generator))
            seed = int(torch.randint(-(2**63), 2**63 - 1, (), generator=generator))
            found, expected = (
                device.draw(weights, n, method, seed),
                isf.draw(weights, n, method, seed),
            )
            what = f"{number}: {method}, {n} of {rows}, seed {seed}"
            assert found.status == 0, what
            assert torch.equal(found.index, expected.index), what
            assert torch.equal(found.prob, expected.prob), what


def test_a_chance_is_not_flushed_to_zero() -> None:
    scores = torch.tensor([0.0, 1e-45, 1e-40, 1e-39])
    with closing(FakeMPS(flush=True)) as mps:
        weights, _ = MetalDevice(mps).smoothed(scores, 0.1)
    assert (weights.view(torch.int32) > 0).all()
