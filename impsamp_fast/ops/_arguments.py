"""Arguments on their way to the operators: how those take them, and errors that name them."""

import operator
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

_EXPECTED: dict[str, tuple[tuple[type, ...], str]] = {
    "logits": ((Tensor,), "a tensor"),
    "target": ((Tensor,), "a tensor"),
    "weights": ((Tensor,), "a tensor"),
    "scores": ((Tensor,), "a tensor"),
    "prob": ((Tensor,), "a tensor"),
    "drawn_by": ((Tensor,), "a tensor"),
    "ignored": ((Tensor, type(None)), "a tensor or None"),
    "rows": ((int,), "an int"),
    "features": ((Tensor, type(None)), "a tensor or None"),
    "class_weight": ((Tensor, type(None)), "a tensor or None"),
    "n": ((int,), "an int"),
    "ignore_index": ((int, type(None)), "an int or None"),
    "seed": ((int, Tensor, type(None)), "an int, a tensor or None"),
    "generator": ((torch.Generator, type(None)), "a torch.Generator or None"),
    "kind": ((str,), "a str"),
    "score": ((str,), "a str"),
    "method": ((str,), "a str"),
    "correction": ((str, float, int), "a str or a float"),
    "label_smoothing": ((float, int), "a float"),
    "smoothing": ((float, int), "a float"),
}


def explain(error: TypeError, arguments: dict[str, Any]) -> NoReturn:
    """Raises an error that names the argument, where pybind11's only lists the signature."""
    for name, value in arguments.items():
        expected = _EXPECTED.get(name)
        if expected and not isinstance(value, expected[0]):
            found = f"{type(value).__name__} {value!r}"
            raise TypeError(f"{name} is {found:.80}, but must be {expected[1]}") from None
        if isinstance(value, Tensor) and value.is_nested:
            raise TypeError(f"{name} is a nested tensor, but must be strided") from None
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} is {value}, but must be an integer of 64 bits") from None
        if isinstance(value, str) and not value.isprintable():
            raise ValueError(f"{name} is {value!r}, which is no known name") from None
    raise error


def signed(seed: int | Tensor) -> int | Tensor:
    """A seed of 64 bits as the signed integer with the same bits; a tensor as it is."""
    if type(seed) is not int or -(2**63) <= seed < 2**63:
        return seed
    if seed < 2**64:
        return seed - 2**64
    raise ValueError(f"seed is {seed}, but must be an integer of 64 bits")


Seeds = tuple[int | None, torch.Generator | None, Tensor | None]


def seeds(seed: int | Tensor | None, generator: torch.Generator | None) -> Seeds:
    """Seed, generator and device_seed, as the operators with ``out`` take them."""
    return (None, generator, seed) if isinstance(seed, Tensor) else (seed, generator, None)


_Kind = TypeVar("_Kind")


def checked_out(out: Any, kind: type[_Kind]) -> _Kind:
    """``out``, which must be of this kind."""
    if not isinstance(out, kind):
        found = f"{type(out).__name__} {out!r}"
        raise TypeError(f"out is {found:.80}, but must be a {kind.__name__} or None")
    for field in getattr(out, "_fields", ()):
        if not isinstance(value := getattr(out, field), Tensor):
            found = f"{type(value).__name__} {value!r}"
            raise TypeError(f"out.{field} is {found:.80}, but must be a tensor")
    return out


def checked_tensor(value: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError  # explain knows which
    return value


def checked_size(n: int) -> int:
    """How much to allocate: nothing for an n that the operator refuses."""
    size = n if isinstance(n, (int, torch.SymInt)) else operator.index(n)
    return size if 1 <= size < 2**31 else 0
