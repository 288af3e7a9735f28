"""Where a test runs: the CPU, or a GPU under `pytest -m cuda` or `pytest -m mps`.

Most of what the CPU suite says about the operators holds on every device. Its tests stay as they
are: their arguments are carried to the device, strides and alignment included, and the results
back.
"""

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import impsamp_fast

CPU = torch.device("cpu")
GPUS = {"cuda": "CUDA device", "mps": "Apple GPU"}


def required(kind: str) -> str:
    """The variable that is set to 1 where such a GPU is promised: its tests may not be skipped."""
    return f"IMPSAMP_REQUIRE_{kind.upper()}"


def is_required(kind: str) -> bool:
    return os.environ.get(required(kind), "0") not in ("", "0")


def is_available(kind: str) -> bool:
    return torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()


def is_double(item: pytest.Item) -> bool:
    """Whether a test is one of float64, which Apple GPUs do not have."""
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params.values() if callspec else ()
    return "float64" in item.name or any(value is torch.float64 for value in parameters)


def leave_out(
    config: pytest.Config, items: list[pytest.Item], unwanted: Callable[[pytest.Item], bool]
) -> None:
    """Deselects tests."""
    left_out = [item for item in items if unwanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not unwanted(item)]


def need_mps() -> None:
    """Skip the test that runs, unless there is a device."""
    if not is_available("mps"):
        pytest.skip("no Apple GPU")


def need_cuda() -> None:
    """Skip the test that runs, unless there is a device; without kernels for it, fail."""
    if not is_available("cuda"):
        pytest.skip("no CUDA device")
    if impsamp_fast.build_info()["cuda"] is None:
        pytest.fail("there is a CUDA device, but impsamp_fast was built without CUDA")


def last_device() -> torch.device:
    """Another device than the current one, where there are several."""
    return torch.device("cuda", torch.cuda.device_count() - 1)


def carry(value: Any, device: torch.device) -> Any:
    """A tensor with the same strides at the same place in a copy of its storage, or another value.

    What is not in memory (meta) stays where it is; what has no strides (sparse, nested) loses
    nothing by moving.
    """
    if not isinstance(value, Tensor) or value.is_meta:
        return value
    if device.type == "mps" and value.dtype == torch.float64:
        pytest.skip("an Apple GPU has no float64")
    if value.layout != torch.strided or value.is_nested:
        return value.to(device)
    whole = value.detach().as_strided(
        (value.untyped_storage().nbytes() // value.itemsize,), (1,), 0
    )
    copy = torch.empty_like(whole, device=device).copy_(whole)
    moved = copy.as_strided(value.shape, value.stride(), value.storage_offset())
    return moved.requires_grad_(value.requires_grad)


class _Carrier:
    """Carries tensors, and keeps the last few: tests call with the same ones again and again."""

    KEPT = 4

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._kept: list[tuple[Tensor, int, Tensor]] = []

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        for tensor, version, moved in self._kept:
            if tensor is value and tensor._version == version:
                return moved
        moved = carry(value, self.device)
        self._kept = [(value, value._version, moved), *self._kept[: self.KEPT - 1]]
        return moved


def carried(operator: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The operator for arguments and results on the CPU, run on `device`, and raising as on it."""
    carrier = _Carrier(device)

    @functools.wraps(operator)
    def call(*args: Any, **kwargs: Any) -> Any:
        found = operator(
            *map(carrier, args),
            **{name: carrier(value) for name, value in kwargs.items()},
            validate=True,
        )
        if isinstance(found, Tensor):
            return found.cpu()
        return type(found)(*(value.cpu() for value in found))

    return call


def assert_same(actual: Tensor, expected: Tensor, device: torch.device, what: str = "") -> None:
    """Equal on the CPU; on a GPU, where the layout decides the order of summation, within 4e-6."""
    if device == CPU:
        assert torch.equal(actual, expected), what
    else:
        torch.testing.assert_close(actual, expected, rtol=4e-6, atol=4e-6, msg=what or None)


def assert_the_cpus_prob(found: Tensor, expected: Tensor, method: str) -> None:
    """Bit for bit, but for the expm1 of float64 in a race, which is each C library's own."""
    if found.is_cuda and method == "race" and found.dtype == torch.float64:
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-15, atol=0.0)
    else:
        assert torch.equal(found.cpu(), expected)


def random_state(device: torch.device) -> Tensor:
    """The state of the device's default generator."""
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def no_synchronisation(device: torch.device) -> Iterator[None]:
    """Whatever makes the host wait for the device is an error here, as far as torch notices it."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the mode calls itself a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
