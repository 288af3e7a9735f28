"""What every test gets: torch's global state put back, hypothesis with fixed examples, a device.

`pytest -m cuda` is the GPU suite, and `pytest -m mps` that of Apple's GPUs. Without `-m` their
tests are left out, even where there is a GPU.
"""

import faulthandler
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

import impsamp_fast
from tests.devices import (
    CPU,
    GPUS,
    carried,
    is_available,
    is_double,
    is_required,
    leave_out,
    need_cuda,
    need_mps,
    required,
)
from tests.elsewhere import Event
from tests.toy import C, K

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

ON_GPUS = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in GPUS]


def pytest_configure(config: pytest.Config) -> None:
    config.option.markexpr = config.option.markexpr or " and ".join(f"not {kind}" for kind in GPUS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out(config, items, lambda item: is_double(item) and item.get_closest_marker("mps"))


def pytest_collection_finish(session: pytest.Session) -> None:
    for kind, device in GPUS.items():
        wanted = any(item.get_closest_marker(kind) for item in session.items)
        if wanted and is_required(kind) and not is_available(kind):
            raise pytest.UsageError(f"{required(kind)} is set, but torch finds no {device}")


@pytest.fixture(autouse=True)
def _torch_state_restored() -> Iterator[None]:
    """Each test starts from the same random state and leaves the number of threads as it was."""
    threads = torch.get_num_threads()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _events_elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for tests of an Apple GPU, events are those of the accelerator that the CPU plays."""
    if not request.node.get_closest_marker("mps"):
        monkeypatch.setattr(torch.mps, "Event", Event)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Operations on tensors that small last microseconds: a second thread is only waited for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["cpu", *ON_GPUS])
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU in an ordinary run, the current GPU under `-m cuda` or `-m mps`."""
    return CPU if request.param == "cpu" else request.getfixturevalue(request.param)


@pytest.fixture(params=ON_GPUS)
def gpu(request: pytest.FixtureRequest) -> torch.device:
    """The current GPU under `-m cuda` or `-m mps`, for what only a GPU does."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def cuda() -> torch.device:
    """The current GPU, for tests marked with `cuda`."""
    need_cuda()
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def mps() -> Iterator[torch.device]:
    """The Apple GPU, for tests marked with `mps`.

    The host waits for ever for a kernel that has failed: then the whole run ends, and says where.
    """
    need_mps()
    faulthandler.dump_traceback_later(600, exit=True)
    yield torch.device("mps", 0)
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def carried_operators(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators of the package run on the device, for tensors on the CPU."""
    if device.type == "cpu":
        return
    for name in ("row_stats", "score", "draw", "select"):
        monkeypatch.setattr(impsamp_fast, name, carried(getattr(impsamp_fast, name), device))


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
