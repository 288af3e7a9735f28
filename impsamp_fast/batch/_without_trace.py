"""A forward pass that leaves no trace in the model."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.modules.batchnorm import _NormBase

from impsamp_fast._extension import _C
from impsamp_fast.batch._nested import tensors_of

_Result = TypeVar("_Result")

_HAS_MPS = torch.backends.mps.is_available()


def without_trace(
    models: list[Any], batch: Any, dropout: bool, run: Callable[..., _Result], *args: Any
) -> _Result:
    """Runs a forward pass without gradients; modes and random states are as before.

    Args:
        models: whose modes are switched to evaluation, and whose devices' states are put back, as
            far as they are modules.
        batch: the rows; the states of their devices are put back as well.
        dropout: whether modules stay in the mode that they are in, but for batch norm and its like.
        run: the forward pass.
        args: its arguments.
    """
    switched: list[nn.Module] = []
    devices: set[torch.device] = set()
    # On a device that torch has not begun to use there is nothing.
    compiling = is_compiling()
    has_devices = not compiling and (torch.cuda.is_initialized() or _HAS_MPS)  # type: ignore[no-untyped-call]
    if has_devices:
        devices = {part.device for part in tensors_of(batch)}
    # The list grows while it is walked. Nothing is remembered between steps, for the user may
    # change the model or its modes; the walk takes 0.2 us per module.
    modules = [model for model in models if isinstance(model, nn.Module)]
    for module in modules:
        if module.training and (not dropout or isinstance(module, _NormBase)):
            switched.append(module)
        if has_devices:
            tensors = (*module._parameters.values(), *module._buffers.values())
            devices.update(tensor.device for tensor in tensors if tensor is not None)
        modules += filter(None, module._modules.values())
    # In evaluation mode models draw nothing, and a graph cannot hold the state of a generator.
    states = RandomStates(devices) if devices or (compiling and dropout) else None
    try:
        for module in switched:
            _set_training(module, False)
        if not compiling:
            return _C.without_trace(run, *args)  # type: ignore[no-any-return]
        with torch.no_grad():
            return run(*args)
    finally:
        for module in switched:
            _set_training(module, True)
        if states is not None:
            states.put_back()


class RandomStates:
    """The states of torch's default generators, on the CPU and on these devices."""

    def __init__(self, devices: set[torch.device]) -> None:
        self._cpu = torch.default_generator.get_state()
        self._mps: Tensor | None = None
        self._cuda: list[tuple[torch.device, Tensor]] = []
        for device in devices:
            # A CUDA graph that is being captured has no state to read yet.
            if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
                self._cuda.append((device, torch.cuda.get_rng_state(device)))
            elif device.type == "mps" and _HAS_MPS:
                self._mps = torch.mps.get_rng_state()

    def put_back(self) -> None:
        """Makes them what they were."""
        torch.default_generator.set_state(self._cpu)
        for device, state in self._cuda:
            torch.cuda.set_rng_state(state, device)
        if self._mps is not None:
            torch.mps.set_rng_state(self._mps)


def _set_training(module: nn.Module, mode: bool) -> None:
    """Sets the mode of this module alone."""
    # nn.Module.__setattr__ takes ten times as long, since it looks for a parameter of that name. A
    # scripted module keeps its mode elsewhere.
    attributes = module.__dict__
    if "training" in attributes:
        attributes["training"] = mode
    else:
        module.training = mode
