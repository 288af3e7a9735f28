"""Where the random numbers of draw and select come from."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests.devices import random_state
from tests.methods import RANDOM_METHODS

WEIGHTS = torch.rand(1000, generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn(1000, 5, generator=torch.Generator().manual_seed(2))
TARGET = torch.arange(1000) % 5

Draws = Callable[..., Tensor]


def draw(device: torch.device, method: str, **source: object) -> Tensor:
    return isf.draw(WEIGHTS.to(device), 100, method, **source).index


def select(device: torch.device, method: str, **source: object) -> Tensor:
    logits, target = LOGITS.to(device), TARGET.to(device)
    return isf.select(logits, target, 100, method=method, **source).index


@pytest.fixture(params=RANDOM_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[draw, select], ids=["draw", "select"])
def draws(request: pytest.FixtureRequest, method: str, device: torch.device) -> Draws:
    return partial(request.param, device, method)


def test_manual_seed_decides(draws: Draws) -> None:
    torch.manual_seed(5)
    first, second = draws(), draws()
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(draws(), first)
    assert torch.equal(draws(), second)
    torch.manual_seed(6)
    assert not torch.equal(draws(), first)


def test_a_generator_decides_and_advances(draws: Draws, device: torch.device) -> None:
    generator = torch.Generator(device).manual_seed(5)
    before = random_state(device)
    first, second = draws(generator=generator), draws(generator=generator)
    assert torch.equal(random_state(device), before), "the default generator is left alone"
    assert not torch.equal(first, second)
    generator.manual_seed(5)
    assert torch.equal(draws(generator=generator), first)
    torch.manual_seed(5)
    assert torch.equal(draws(), first), "the default generator is used alike"


def test_a_seed_uses_no_generator(draws: Draws, device: torch.device) -> None:
    before = random_state(device)
    first = draws(seed=7)
    assert torch.equal(draws(seed=7), first)
    assert not torch.equal(draws(seed=8), first)
    assert torch.equal(random_state(device), before)


def test_the_cpus_generator_is_left_alone(draws: Draws, device: torch.device) -> None:
    """What is drawn on a device takes its numbers from that device's generator."""
    before = torch.get_rng_state()
    draws()
    assert torch.equal(torch.get_rng_state(), before) == (device.type != "cpu")


def test_seeds_are_64_bits_of_either_sign(draws: Draws) -> None:
    assert torch.equal(draws(seed=-1), draws(seed=2**64 - 1))
    assert torch.equal(draws(seed=-(2**63)), draws(seed=2**63))
    high_bits_matter = [draws(seed=1 + (1 << shift)) for shift in (31, 32, 33, 62, 63)]
    for other in high_bits_matter:
        assert not torch.equal(other, draws(seed=1))


def test_seeds_differ_from_step_to_step(device: torch.device) -> None:
    """A thousand draws from one generator have a thousand different seeds."""
    weights = WEIGHTS.to(device)
    first = [tuple(isf.draw(weights, 4).index.tolist()) for _ in range(1000)]
    assert len(set(first)) > 990
