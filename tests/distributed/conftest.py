"""One world of processes for all tests of this folder, and another once a test has broken it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch.distributed as dist

from tests.distributed.world import World

Run = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        if world.is_alive:
            world.close()


@pytest.fixture
def run(worlds: list[World]) -> Run:
    """Runs a function on the first ranks: ``run(size, function, *args)``."""
    if not dist.is_available():
        pytest.skip("torch has no torch.distributed")
    if not worlds or not worlds[-1].is_alive:
        worlds.append(World())
    return worlds[-1].run
