"""The scoring forward pass: a model's logits, and no trace of having asked for them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


def forward_without_trace(model: nn.Module, x: Any, y: Tensor, dropout: bool) -> Any:
    """The model's output without gradients; its modes and the random state are as before."""
    random_state = torch.default_generator.get_state()
    cuda_state = torch.cuda.get_rng_state(y.device) if y.is_cuda else None
    switched: list[nn.Module] = []
    try:
        # The list grows while it is walked. Nothing is remembered between steps, for the user may
        # change the model or its modes; the walk takes 0.2 us per module.
        modules: list[nn.Module | None] = [model]
        for module in modules:
            if module is None:
                continue
            if module.training and (not dropout or isinstance(module, _NormBase)):
                _set_training(module, False)
                switched.append(module)
            modules += module._modules.values()
        with torch.no_grad():
            return _call(model, x)
    finally:
        for module in switched:
            _set_training(module, True)
        torch.default_generator.set_state(random_state)
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, y.device)


def _set_training(module: nn.Module, mode: bool) -> None:
    """Sets the mode of this module alone."""
    # nn.Module.__setattr__ takes ten times as long, since it looks for a parameter of that name. A
    # scripted module keeps its mode elsewhere.
    attributes = module.__dict__
    if "training" in attributes:
        attributes["training"] = mode
    else:
        module.training = mode


class LastLinear:
    """Watches the linear layer that was registered last, until removed."""

    def __init__(self, model: nn.Module) -> None:
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise ValueError('score is "last_layer", but the model has no nn.Linear')
        if layers[-1].bias is None:
            raise ValueError(
                'score is "last_layer", which assumes a bias (its factor is sqrt(1 + |h|^2)), but '
                "the model's last nn.Linear has none: choose another score, or call "
                'select(..., score="last_layer", features=...) if the 1 does not matter to you'
            )
        self._seen: tuple[Tensor, Tensor] | None = None
        self._hook = layers[-1].register_forward_hook(self._see)

    def _see(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._seen = (inputs[0], output) if inputs else None

    def remove(self) -> None:
        """Stops watching."""
        self._hook.remove()

    def input_that_gave(self, logits: Tensor) -> Tensor:
        """The layer's input, if its output is what the model returned."""
        if self._seen is None or self._seen[1] is not logits:
            raise ValueError(
                'score is "last_layer", but the model does not return the output of its last '
                "nn.Linear as it is: call select(..., features=...) with that layer's input"
            )
        return self._seen[0]


def _call(model: nn.Module, x: Any) -> Any:
    if isinstance(x, Tensor):
        return model(x)
    return model(**x) if isinstance(x, Mapping) else model(*x)
