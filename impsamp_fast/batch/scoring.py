"""The scoring forward pass: a model's logits, without a trace in the model."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel

_HAS_MPS = torch.backends.mps.is_available()


def forward_without_trace(model: nn.Module, x: Any, y: Tensor, dropout: bool) -> Any:
    """The model's output without gradients; its modes and the random states are as before.

    Of a ``DistributedDataParallel`` what it wraps is called: its own forward pass sends buffers,
    and under ``join`` waits for ranks that have no more data and so do not score.
    """
    while isinstance(model, DistributedDataParallel):
        model = model.module
    switched: list[nn.Module] = []
    devices: set[torch.device] = set()
    # On a device that torch has not begun to use there is nothing.
    has_devices = not is_compiling() and (torch.cuda.is_initialized() or _HAS_MPS)  # type: ignore[no-untyped-call]
    if has_devices:
        devices = {y.device} | _devices_of(x)
    # The list grows while it is walked. Nothing is remembered between steps, for the user may
    # change the model or its modes; the walk takes 0.2 us per module.
    modules: list[nn.Module | None] = [model]
    for module in modules:
        if module is None:
            continue
        if module.training and (not dropout or isinstance(module, _NormBase)):
            switched.append(module)
        if has_devices:
            tensors = (*module._parameters.values(), *module._buffers.values())
            devices.update(tensor.device for tensor in tensors if tensor is not None)
        modules += module._modules.values()
    # In evaluation mode models draw nothing, and a graph cannot hold the state of a generator.
    states = None if is_compiling() and not dropout else RandomStates(devices)
    try:
        for module in switched:
            _set_training(module, False)
        with torch.no_grad():
            return call_model(model, x)
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


def _devices_of(x: Any) -> set[torch.device]:
    """The devices that the tensors of a batch are on."""
    if isinstance(x, Tensor):
        return {x.device}
    parts = x.values() if isinstance(x, Mapping) else x
    return set().union(*map(_devices_of, parts))


def _set_training(module: nn.Module, mode: bool) -> None:
    """Sets the mode of this module alone."""
    # nn.Module.__setattr__ takes ten times as long, since it looks for a parameter of that name. A
    # scripted module keeps its mode elsewhere.
    attributes = module.__dict__
    if "training" in attributes:
        attributes["training"] = mode
    else:
        module.training = mode


def check_logits(logits: Any, y: Tensor) -> None:
    """Checks that the model returned logits [K, C] (TypeError, ValueError)."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"the model returned {type(logits).__name__}, expected a tensor of logits: give "
            "the selector a module that returns only these"
        )
    if logits.dim() != 2 or logits.shape[0] != y.shape[0]:
        raise ValueError(
            f"the model returned logits of shape {list(logits.shape)}, expected "
            f"[{y.shape[0]}, C], one row of logits for each row of x"
        )


class LastLayer:
    """Watches the last layer of a model, until removed.

    Args:
        model: the model.
        layer: the layer, or its qualified name; None is the ``nn.Linear`` that was registered last.

    Raises:
        ValueError: if the layer is not in the model, or has no bias.
    """

    def __init__(self, model: nn.Module, layer: str | nn.Module | None = None) -> None:
        found = _find_layer(model, layer)
        if getattr(found, "bias", None) is None:
            raise ValueError(
                'score is "last_layer", which assumes a bias (its factor is sqrt(1 + |h|^2)), but '
                f"the model's {_described(layer)} has none: choose another score, or call "
                'select(..., score="last_layer", features=...) if the 1 does not matter to you'
            )
        self._layer = layer
        self._seen: tuple[Tensor, Tensor] | None = None
        self._hook = found.register_forward_hook(self._see)

    def _see(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._seen = (inputs[0], output) if inputs else None

    def remove(self) -> None:
        """Stops watching."""
        self._hook.remove()

    def input_that_gave(self, logits: Tensor) -> Tensor:
        """The layer's input, if its output is what the model returned."""
        if self._seen is None or self._seen[1] is not logits:
            raise ValueError(
                'score is "last_layer", but the model does not return the output of its '
                f"{_described(self._layer)} as it is: call select(..., features=...) with that "
                "layer's input"
            )
        return self._seen[0]


def _find_layer(model: nn.Module, layer: str | nn.Module | None) -> nn.Module:
    linear = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    if layer is None:
        if not linear:
            raise ValueError('score is "last_layer", but the model has no nn.Linear')
        return list(linear.values())[-1]
    if isinstance(layer, nn.Module):
        if all(part is not layer for part in model.modules()):
            raise ValueError(f"layer is {layer!r}, which is no part of the model")
        return layer
    try:
        return model.get_submodule(layer)
    except AttributeError:
        raise ValueError(
            f"layer is {layer!r}, but the model has no such part; its nn.Linear are: "
            f"{', '.join(map(repr, linear)) or 'none'}"
        ) from None


def _described(layer: str | nn.Module | None) -> str:
    if layer is None:
        return "last nn.Linear"
    return f"layer {layer!r}"


def call_model(model: nn.Module, x: Any) -> Any:
    """``model(x)`` of a tensor, ``model(*x)`` of a tuple or list, ``model(**x)`` of a mapping."""
    if isinstance(x, Tensor):
        return model(x)
    return model(**x) if isinstance(x, Mapping) else model(*x)
