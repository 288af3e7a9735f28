"""Arguments in the types that the operators take, and errors that name the one that is none."""

import operator
from typing import Any

import torch
from torch import Tensor

from impsamp_fast._checks import to_number


def signed(seed: int) -> int:
    """A seed of 64 bits as the signed integer with the same bits."""
    if type(seed) is not int or -(2**63) <= seed < 2**63:
        return seed
    if 0 < seed < 2**64:
        return seed - 2**64
    raise ValueError(f"seed is {seed}, but must be an integer of 64 bits")


def number_and_tensor(seed: int | Tensor | None) -> tuple[int | None, Tensor | None]:
    """A seed as the operators take it: as a number, or as a tensor on the device of the draw."""
    if seed is None:
        return None, None
    if type(seed) is not int and isinstance(seed, Tensor):
        return None, seed
    return signed(seed), None


def power(correction: Any) -> float:
    """A correction that is no name."""
    if isinstance(correction, (float, int)):
        return correction
    try:
        return to_number("correction", correction)
    except TypeError:
        raise _wrong("correction", correction, "a str or a number") from None


def plain(schema: torch.FunctionSchema, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """An operator's arguments as plain Python numbers, names and tensors.

    Raises:
        TypeError: names the first argument that cannot be what the schema says.
        ValueError: likewise, for an integer that has more than 64 bits or an impossible name.
    """
    declared = schema.arguments[: len(arguments)]
    return tuple(map(_plain, declared, arguments))


# Arguments of the operators that callers know by another name.
_KNOWN_AS = {"exponent": "correction", "device_seed": "seed"}


_WANTED: dict[str, tuple[str, type]] = {
    "Tensor": ("a tensor", Tensor),
    "Generator": ("a torch.Generator", torch.Generator),
    "str": ("a str", str),
    "int": ("an int", object),
    "float": ("a number", object),
}


def _plain(declared: torch.Argument, value: Any) -> Any:
    name = _KNOWN_AS.get(declared.name, declared.name)
    kind = str(declared.type).removeprefix("Optional[").removesuffix("]")
    optional = kind != str(declared.type)
    if optional and value is None:
        return None
    wanted, types = _WANTED[kind]
    if optional:
        wanted = f"{wanted} or None"
    try:
        if kind == "int":
            return _of_64_bits(name, operator.index(value))
        if kind == "float":
            return to_number(name, value)
    except TypeError:
        raise _wrong(name, value, wanted) from None
    if not isinstance(value, types):
        raise _wrong(name, value, wanted)
    if isinstance(value, Tensor) and value.is_nested:
        raise TypeError(f"{name} is a nested tensor, but must be strided")
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(f"{name} is {value!r}, which is no known name")
    return value


def _of_64_bits(name: str, number: int) -> int:
    if name == "seed":
        return signed(number)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} is {number}, but must be an integer of 64 bits")
    return number


def _wrong(name: str, value: Any, wanted: str) -> TypeError:
    found = f"{type(value).__name__} {value!r}"
    return TypeError(f"{name} is {found:.80}, but must be {wanted}")
