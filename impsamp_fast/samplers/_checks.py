"""Checks of arguments that several samplers share."""

import math
import operator
from typing import Any, SupportsFloat, SupportsIndex

import torch
from torch import Tensor


def check_integer(name: str, value: Any, least: int) -> int:
    """The value as an int; TypeError or ValueError if it is not an integer of at least that."""
    if not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} is {value!r}, expected an integer")
    if operator.index(value) < least:
        raise ValueError(f"{name} is {value}, expected at least {least}")
    return operator.index(value)


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False
) -> None:
    """TypeError or ValueError if it is not a finite number in [low, high), or in (low, high)."""
    if not isinstance(value, SupportsFloat):
        raise TypeError(f"{name} is {value!r}, expected a number")
    number = float(value)
    if not (low < number if open_low else low <= number) or not number < high:
        left = "<" if open_low else "<="
        right = "" if high == math.inf else f" < {high:g}"
        raise ValueError(f"{name} is {value}, expected a number with {low:g} {left} {name}{right}")


def check_index(index: Any, size: int) -> Tensor:
    """The index on the CPU as int64; an error if it does not hold numbers of samples."""
    if not isinstance(index, Tensor) or index.dtype not in (torch.int64, torch.int32):
        kind = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(f"index is {kind}, expected an int64 or int32 tensor")
    if index.dim() != 1:
        raise ValueError(f"index has shape {list(index.shape)}, expected one dimension")
    numbers: Tensor = index.to("cpu", torch.int64)
    if numbers.numel() > 0:
        low, high = torch.aminmax(numbers)
        if low < 0 or high >= size:
            position = int(((numbers < 0) | (numbers >= size)).nonzero()[0])
            raise IndexError(
                f"index[{position}] is {int(numbers[position])}, but there are {size} samples"
            )
    return numbers
