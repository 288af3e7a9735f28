"""Checks of arguments that several modules share."""

import math
import operator
from collections.abc import Mapping
from typing import Any, SupportsFloat

import torch
from torch import Tensor


def to_integer(name: str, value: Any, wanted: str = "an integer") -> int:
    """The value as an int; TypeError if it is not an integer."""
    try:
        # Every tensor has __index__, and only calling it tells whether it is an integer.
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, expected {wanted}") from None


def to_number(name: str, value: Any, wanted: str = "a number") -> float:
    """The value as a float; TypeError if it is not a real number."""
    try:
        if isinstance(value, SupportsFloat):
            return float(value)
    except OverflowError:
        raise ValueError(f"{name} is {value}, expected a number that a float can hold") from None
    except (TypeError, ValueError, RuntimeError):  # a tensor or an array of several numbers
        pass
    raise TypeError(f"{name} is {value!r}, expected {wanted}")


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int; TypeError or ValueError if it is not an integer in [least, most]."""
    number = to_integer(name, value)
    if number < least or (most is not None and number > most):
        wanted = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ValueError(f"{name} is {number}, expected {wanted}")
    return number


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = True,
) -> float:
    """The value as a float; TypeError or ValueError if it is not a number from low to high.

    The end at ``high`` is open by default, and an infinite end always is.
    """
    number = to_number(name, value)
    above = low < number if open_low or low == -math.inf else low <= number
    below = number < high if open_high or high == math.inf else number <= high
    if not (above and below):
        left = "" if low == -math.inf else f"{low:g} {'<' if open_low else '<='} "
        right = "" if high == math.inf else f" {'<' if open_high else '<='} {high:g}"
        bounds = f"a number with {left}{name}{right}" if left or right else "a finite number"
        raise ValueError(f"{name} is {value}, expected {bounds}")
    return number


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """ValueError if the value is none of these."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def check_index(index: Any, size: int) -> Tensor:
    """The index on the CPU as int64; an error if it does not hold numbers of samples."""
    check_index_form(index)
    numbers: Tensor = index.to("cpu", torch.int64)
    check_range(numbers, size)
    return numbers


def check_index_form(index: Any) -> None:
    """TypeError or ValueError if it is not a tensor of integers in one dimension."""
    if not isinstance(index, Tensor) or index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"index is {kind_of(index)}, expected an int64 or int32 tensor")
    if index.dim() != 1:
        raise ValueError(f"index has shape {list(index.shape)}, expected one dimension")


def check_range(index: Tensor, size: int) -> None:
    """IndexError if an index [n] on the CPU has a number that is not in [0, size)."""
    if index.numel() == 0:
        return
    low, high = torch.aminmax(index)
    if low < 0 or high >= size:
        position = int(((index < 0) | (index >= size)).nonzero()[0])
        raise IndexError(
            f"index[{position}] is {int(index[position])}, but there are {size} samples"
        )


def check_saved_integers(state: Mapping[str, Any], *names: str, least: int | None = None) -> None:
    """TypeError or ValueError if parts of a saved state are not integers, at least ``least``."""
    for name in names:
        if not isinstance(state[name], int):
            raise TypeError(f"the state's {name} is {state[name]!r}, expected an int")
        if least is not None and state[name] < least:
            raise ValueError(f"the state's {name} is {state[name]}, expected at least {least}")


def check_losses(losses: Any, n: int) -> None:
    """TypeError or ValueError if they are not the losses of n rows."""
    if not isinstance(losses, Tensor) or not losses.is_floating_point():
        raise TypeError(f"losses is {kind_of(losses)}, expected a floating-point tensor")
    if losses.shape != (n,):
        raise ValueError(
            f"losses has shape {list(losses.shape)}, expected [{n}], one loss per row: compute it "
            'with reduction="none"'
        )


def kind_of(value: Any) -> str:
    """What an error calls a value of another kind than was expected."""
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
