"""Where the random numbers of draw and select come from."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf

WEIGHTS = torch.rand(1000, generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn(1000, 5, generator=torch.Generator().manual_seed(2))
TARGET = torch.arange(1000) % 5
METHODS = ["multinomial", "stratified", "systematic", "race", "pps"]

Draws = Callable[..., Tensor]
OPERATORS: dict[str, Draws] = {
    "draw": lambda method, **source: isf.draw(WEIGHTS, 100, method, **source).index,
    "select": lambda method, **source: (
        isf.select(LOGITS, TARGET, 100, method=method, **source).index
    ),
}
both = pytest.mark.parametrize(
    "draws",
    [partial(draws, method) for draws in OPERATORS.values() for method in METHODS],
    ids=[f"{name}-{method}" for name in OPERATORS for method in METHODS],
)


@both
def test_manual_seed_decides(draws: Draws) -> None:
    torch.manual_seed(5)
    first, second = draws(), draws()
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(draws(), first)
    assert torch.equal(draws(), second)
    torch.manual_seed(6)
    assert not torch.equal(draws(), first)


@both
def test_a_generator_decides_and_advances(draws: Draws) -> None:
    generator = torch.Generator().manual_seed(5)
    before = torch.get_rng_state()
    first, second = draws(generator=generator), draws(generator=generator)
    assert torch.equal(torch.get_rng_state(), before), "the default generator is left alone"
    assert not torch.equal(first, second)
    generator.manual_seed(5)
    assert torch.equal(draws(generator=generator), first)
    torch.manual_seed(5)
    assert torch.equal(draws(), first), "the default generator is used alike"


@both
def test_a_seed_uses_no_generator(draws: Draws) -> None:
    before = torch.get_rng_state()
    first = draws(seed=7)
    assert torch.equal(draws(seed=7), first)
    assert not torch.equal(draws(seed=8), first)
    assert torch.equal(torch.get_rng_state(), before)


@both
def test_seeds_are_64_bits_of_either_sign(draws: Draws) -> None:
    assert torch.equal(draws(seed=-1), draws(seed=2**64 - 1))
    assert torch.equal(draws(seed=-(2**63)), draws(seed=2**63))
    high_bits_matter = [draws(seed=1 + (1 << shift)) for shift in (31, 32, 33, 62, 63)]
    for other in high_bits_matter:
        assert not torch.equal(other, draws(seed=1))


def test_seeds_differ_from_step_to_step() -> None:
    """A thousand draws from one generator have a thousand different seeds."""
    first = [tuple(isf.draw(WEIGHTS, 4).index.tolist()) for _ in range(1000)]
    assert len(set(first)) > 990
