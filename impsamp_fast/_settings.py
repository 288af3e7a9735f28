"""What the parts say of themselves."""

import inspect
from typing import Any

from torch import Tensor, nn


class ShowsSettings:
    """Has a ``repr`` with the constructor's arguments that are not the defaults."""

    def __repr__(self) -> str:
        shown: list[str] = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name, parameter.default)
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                shown += (f"{option}={_described(given)}" for option, given in value.items())
                continue
            if value is parameter.default or (
                isinstance(value, str | int | float) and value == parameter.default
            ):
                continue
            positional = parameter.default is inspect.Parameter.empty
            shown.append(_described(value) if positional else f"{name}={_described(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _described(value: Any) -> str:
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, Tensor):
        return f"<{'x'.join(map(str, value.shape)) or 'scalar'} {value.dtype}>"
    return getattr(value, "__qualname__", None) or repr(value)
