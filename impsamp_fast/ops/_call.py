"""Calls of the compiled operators."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_compiling

from impsamp_fast._extension import _C
from impsamp_fast.ops._arguments import plain

_Results = TypeVar("_Results")


def operator(
    name: str, kind: type[_Results]
) -> Callable[[tuple[Any, ...], _Results | None], _Results]:
    """A function that calls an operator.

    Its first argument is all of the operator's, in the order of its schema; its second one is
    where to put the results, or None for new ones.

    Args:
        name: of the operator.
        kind: of the results, a named tuple of tensors or a tensor.
    """
    fresh = getattr(_C, name)

    def call(arguments: tuple[Any, ...], out: _Results | None) -> _Results:
        if out is not None:
            _fill(name, arguments, out, kind)
            return out
        if is_compiling():
            found = getattr(torch.ops.impsamp_fast, name)(*arguments)
            return found if kind is Tensor else kind(*found)
        try:
            found = fresh(*arguments)
        except (TypeError, NotImplementedError):
            found = fresh(*_plain(name, arguments))
        return found if kind is Tensor else tuple.__new__(kind, found)  # type: ignore[type-var]

    return call


def run_eagerly(name: str, arguments: tuple[Any, ...], places: tuple[Tensor, ...] = ()) -> Any:
    """Runs an operator, or with places for its results the overload that fills them."""
    run = getattr(_C, f"{name}_out" if places else name)
    try:
        return run(*arguments, *places)
    except (TypeError, NotImplementedError):
        return run(*_plain(name, arguments), *places)


def _plain(name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments as pybind11 takes them; or an error that names one."""
    return plain(getattr(torch.ops.impsamp_fast, name).default._schema, arguments)


def _fill(name: str, arguments: tuple[Any, ...], out: Any, kind: type[Any]) -> None:
    """Runs an operator that writes its results to ``out``."""
    if not isinstance(out, kind):
        found = f"{type(out).__name__} {out!r}"
        raise TypeError(f"out is {found:.80}, but must be a {kind.__name__} or None")
    single = isinstance(out, Tensor)
    fields, places = ((name,), (out,)) if single else (out._fields, tuple(out))
    if is_compiling():
        results = {f"out_{field}": value for field, value in zip(fields, places, strict=True)}
        getattr(torch.ops.impsamp_fast, name).out(*arguments, **results)
        return
    for field, value in zip(fields, places, strict=True):
        called = "out" if single else f"out.{field}"
        if not isinstance(value, Tensor):
            found = f"{type(value).__name__} {value!r}"
            raise TypeError(f"{called} is {found:.80}, but must be a tensor")
        if value.is_neg():  # torch resolves those only for operators that return what they fill
            raise ValueError(f"{called} is lazily negated, but must be memory as it is")
    run_eagerly(name, arguments, places)
