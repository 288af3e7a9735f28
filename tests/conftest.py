"""What every test gets: torch's global state put back, and hypothesis with fixed examples."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn
from toy import C, K

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _torch_state_restored() -> Iterator[None]:
    """Each test starts from the same random state and leaves the number of threads as it was."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    """A large batch for selectors: x [K, 5] and y [K]."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(K, 5, generator=generator)
    return x, torch.randint(C, (K,), generator=generator)


@pytest.fixture
def model() -> nn.Module:
    """A model for it."""
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, C))
