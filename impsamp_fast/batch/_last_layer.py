"""The input of a model's last layer, seen while the model is called."""

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class LastLayer:
    """Watches the last layer of a model while it is attached to it.

    Args:
        layer: the layer, or its qualified name; None is the ``nn.Linear`` that was registered last.
        reason: what looks at it, for errors.
        bias: whether it must have a bias.
    """

    def __init__(
        self,
        layer: str | nn.Module | None = None,
        reason: str = 'score is "last_layer"',
        bias: bool = True,
    ) -> None:
        self._layer = layer
        self._reason = reason
        self._bias = bias
        self._seen: tuple[Tensor, Tensor] | None = None

    def attach(self, model: nn.Module) -> RemovableHandle:
        """Watches the layer of a model until the handle is removed.

        Raises:
            ValueError: if the layer is not in the model, or has no bias.
        """
        found = _find_layer(model, self._layer, self._reason)
        if self._bias and getattr(found, "bias", None) is None:
            raise ValueError(
                f"{self._reason}, which assumes a bias (its factor is sqrt(1 + |h|^2)), but "
                f"the model's {_described(self._layer)} has none: choose another score, or call "
                'select(..., score="last_layer", features=...) if the 1 does not matter to you'
            )
        return found.register_forward_hook(self._see)

    def _see(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._seen = (inputs[0], output) if inputs else None

    def input_that_gave(self, logits: Any) -> Tensor:
        """The layer's input in the last call, if its output is what the model returned."""
        seen, self._seen = self._seen, None
        if seen is None or seen[1] is not logits:
            raise ValueError(
                f"{self._reason}, but the model does not return the output of its "
                f"{_described(self._layer)} as it is: call select(..., features=...) with that "
                "layer's input"
            )
        return seen[0]


def _find_layer(model: nn.Module, layer: str | nn.Module | None, reason: str) -> nn.Module:
    linear = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    if layer is None:
        if not linear:
            raise ValueError(f"{reason}, but the model has no nn.Linear")
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
