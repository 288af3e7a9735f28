"""Kernels for Apple GPUs: compiled on the machine that runs them, and launched.

A file of csrc/metal is one string for ``torch.mps.compile_shader``, with the headers that it
includes put in their places. Nothing here waits for the device.
"""

import functools
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from impsamp_fast.ops import (  # noqa: F401 (whose operators' signatures are known then)
    _corrected,
    _draw,
    _row_stats,
    _score,
    _select,
    _smoothed,
    _stages,
)
from impsamp_fast.ops._fakes import SIGNATURES, check_places, check_that, check_type

_Kernel = Callable[..., None]

# In an installed package, or in a source tree.
_CSRC = next(
    (folder / "csrc" for folder in Path(__file__).parents[1:3] if (folder / "csrc").is_dir()),
    Path("csrc"),
)

ELEMENTS = {torch.float32: "float", torch.float16: "half", torch.bfloat16: "bfloat"}


def source(name: str) -> str:
    """The source of csrc/metal/<name>.metal, without comments, each header where it first comes.

    Metal's compiler names the file and the line of what it does not take.
    """
    csrc = _CSRC.resolve()
    seen: set[Path] = set()

    def inlined(path: Path) -> list[str]:
        if path in seen:
            return []
        seen.add(path)
        lines = [marker(1, path)]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if header := re.fullmatch(r'#include "(.*)"', line):
                lines += inlined((path.parent / header[1]).resolve())
                lines.append(marker(number + 1, path))
            else:
                lines.append(re.sub(r"[ \t]*//.*|#pragma once", "", line))
        return lines

    def marker(number: int, path: Path) -> str:
        return f'#line {number} "{path.relative_to(csrc)}"'

    return "\n".join(inlined(csrc / "metal" / f"{name}.metal")) + "\n"


@functools.cache
def library(name: str) -> Any:
    """The kernels of csrc/metal/<name>.metal, compiled when they are first asked for."""
    if os.environ.get("PYTORCH_MPS_FAST_MATH", "0") not in ("", "0"):
        raise RuntimeError(
            "PYTORCH_MPS_FAST_MATH is set, but with fast math exact draws are not exact; unset it"
        )
    try:
        return torch.mps.compile_shader(source(name))
    except (SyntaxError, RuntimeError) as error:  # torch has raised either
        raise RuntimeError(
            f"Metal's compiler does not take csrc/metal/{name}.metal with torch "
            f"{torch.__version__}; please report what it says: {error}"
        ) from error


def kernel(name: str, function: str, dtype: torch.dtype = torch.float32) -> Any:
    """A function of a library, for elements of this dtype."""
    called = f"{function}_{ELEMENTS[dtype]}"
    kernels = library(name)
    if dtype == torch.bfloat16 and called not in dir(kernels):
        raise TypeError(
            "bfloat16 on mps needs Metal 3.1, which came with macOS 14; update macOS, or convert "
            "to float16 or float32"
        )
    return getattr(kernels, called)


def scalars(form: str, *values: float) -> tuple[int, ...]:
    """A struct of scalars as a launch takes it: its memory as 64-bit integers."""
    packed = struct.pack(f"<{form}", *values)
    return struct.unpack(f"<{len(packed) // 8}q", packed)


def launch(function: Any, arguments: Sequence[Any], groups: int, group_size: int) -> None:
    """Runs a kernel in this many threadgroups; torch asks for the number of all threads."""
    function(*arguments, threads=groups * group_size, group_size=group_size)


_implemented: set[str] = set()


def implements(operator: torch._ops.OpOverload) -> bool:
    """Whether there is a kernel on MPS for the operator."""
    return operator.namespace == "impsamp_fast" and operator._opname in _implemented


def implement(name: str) -> Callable[[_Kernel], _Kernel]:
    """Registers a function as the operator's kernel on MPS, for both of its overloads.

    It takes the operator's arguments, checked and by name, and the places for its results.
    """
    signature = SIGNATURES[name]

    def register(run: _Kernel) -> _Kernel:
        def fresh(*args: Any, **kwargs: Any) -> Any:
            given = signature.arguments(args, kwargs)
            results = signature.fake(given)
            run(given, *results)
            return results if len(results) > 1 else results[0]

        def out(*args: Any, **kwargs: Any) -> None:
            places = [kwargs.pop(f"out_{result}") for result in signature.results]
            given = signature.arguments(args, kwargs)
            called = check_places(signature, places, given)
            _check_apart(called, given)
            torch.autograd.graph.increment_version([p for p in places if not p.is_inference()])
            run(given, *places)

        _implemented.add(name)
        torch.library.impl(f"impsamp_fast::{name}", "MPS", fresh)
        torch.library.impl(f"impsamp_fast::{name}.out", "MPS", out)
        return run

    return register


def check_dtype(name: str, tensor: Tensor) -> None:
    """Checks that there are kernels for the elements."""
    check_type(
        tensor.dtype in ELEMENTS,
        lambda: f"{name} has dtype {tensor.dtype}, but on mps must be float32, float16 or bfloat16",
    )


def named(argument: str, name: str, known: Sequence[str]) -> int:
    """The number of a name among those that are known."""
    check_that(
        name in known,
        lambda: f'{argument} is "{name}", but must be one of {", ".join(map(_quoted, known))}',
    )
    return known.index(name)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _check_apart(places: dict[str, Tensor], given: SimpleNamespace) -> None:
    """Checks that the places of results are in memory of their own."""
    taken = [
        ("an argument that it is computed from", value)
        for value in vars(given).values()
        if isinstance(value, Tensor)
    ]
    for name, place in places.items():
        if place.requires_grad:
            raise ValueError(f"{name} requires grad, but results are not differentiated")
        for other, value in taken:
            if _overlap(place, value):
                raise ValueError(f"{name} shares memory with {other}")
        taken.append((name, place))


def _overlap(a: Tensor, b: Tensor) -> bool:
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    (a_begin, a_end), (b_begin, b_end) = map(_span, (a, b))
    return a_begin < b_end and b_begin < a_end


def _span(tensor: Tensor) -> tuple[int, int]:
    """The bytes of the storage that a tensor's elements are in."""
    begin = int(tensor.storage_offset())
    last: int = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    end = begin + last + 1 if tensor.numel() else begin
    return begin * tensor.itemsize, end * tensor.itemsize
