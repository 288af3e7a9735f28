"""Batches: tensors, or tuples, lists and mappings of such, nested.

A part of one may also be rows that are no tensor, such as strings: an array, or a list or tuple in
which there is no tensor.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor


def are_rows(x: Any) -> bool:
    """Whether it is rows that are no tensor."""
    if isinstance(x, tuple | list):
        return not hasattr(x, "_fields") and not _has_tensors(x)
    return _is_array(x)


def _has_tensors(x: Any) -> bool:
    """Whether tensors or arrays are in it; a list or tuple of others begins with one."""
    if isinstance(x, Mapping):
        return any(map(_has_tensors, x.values()))
    if isinstance(x, tuple | list):
        # Thousands of strings are not looked at one by one.
        parts = x if len(x) > 0 and isinstance(x[0], tuple | list | Mapping) else x[:1]
        return any(map(_has_tensors, parts))
    return isinstance(x, Tensor) or _is_array(x)


def _is_array(x: Any) -> bool:
    return hasattr(x, "__array__") and not isinstance(x, Tensor) and len(x.shape) > 0


class Targets(NamedTuple):
    """Nested targets, where a tensor [K, ...] is expected; none of them is a class index."""

    parts: Any

    @property
    def shape(self) -> torch.Size:
        """[K, ...] of the first."""
        return self._first.shape

    @property
    def device(self) -> torch.device:
        """That of the first."""
        return self._first.device

    @property
    def is_cpu(self) -> bool:
        """Whether the first is on the CPU."""
        return self._first.is_cpu

    @property
    def _first(self) -> Tensor:
        return next(tensors_of(self.parts))

    def dim(self) -> int:
        """That of the first."""
        return self._first.dim()

    def is_floating_point(self) -> bool:
        """True, of what no class index stands for."""
        return True

    def index_select(self, dim: int, row: Tensor) -> "Targets":
        """Some of the rows."""
        return Targets(gather(self.parts, row))


def as_target(y: Any) -> Any:
    """Targets of what is nested; else ``y`` itself."""
    is_nested = isinstance(y, Mapping | tuple | list) and next(tensors_of(y), None) is not None
    return Targets(y) if is_nested else y


def as_given(y: Any) -> Any:
    """What ``as_target`` was given."""
    return y.parts if isinstance(y, Targets) else y


def check_rows(name: str, x: Any, K: int) -> None:
    """Checks that all tensors have K rows (TypeError, ValueError)."""
    if isinstance(x, Tensor):
        if x.dim() == 0 or x.shape[0] != K:
            raise ValueError(f"{name} has shape {list(x.shape)}, but y has {K} rows")
    elif are_rows(x):
        if len(x) != K:
            raise ValueError(f"{name} is a {type(x).__name__} of {len(x)} rows, but y has {K}")
    elif isinstance(x, Mapping):
        for key, part in x.items():
            check_rows(f"{name}[{key!r}]", part, K)
    elif isinstance(x, tuple | list):
        for position, part in enumerate(x):
            check_rows(f"{name}[{position}]", part, K)
    else:
        raise TypeError(
            f"{name} is {type(x).__name__}, expected a tensor, or a tuple, list or dict of tensors"
        )


def check_alike(name: str, x: Any, other: Any) -> None:
    """Checks that rows of ``x`` and ``other`` can stand in one batch (ValueError)."""
    if isinstance(x, Tensor) and isinstance(other, Tensor):
        if (x.shape[1:], x.dtype) != (other.shape[1:], other.dtype):
            raise ValueError(
                f"{name} has rows of shape {list(x.shape[1:])} and {x.dtype}, but those that wait "
                f"have {list(other.shape[1:])} and {other.dtype}"
            )
    elif are_rows(x) and are_rows(other):
        pass
    elif isinstance(x, Mapping) and isinstance(other, Mapping) and x.keys() == other.keys():
        for key, part in x.items():
            check_alike(f"{name}[{key!r}]", part, other[key])
    elif _are_sequences(x, other) and len(x) == len(other):
        for position, (part, other_part) in enumerate(zip(x, other, strict=True)):
            check_alike(f"{name}[{position}]", part, other_part)
    else:
        raise ValueError(
            f"{name} is {_described(x)}, but the rows that wait are {_described(other)}"
        )


def mapped(
    change: Callable[..., Tensor], x: Any, *others: Any, rows: Callable[..., Any] | None = None
) -> Any:
    """The change of each tensor of ``x``, given with those in the same place of the others.

    ``rows`` is likewise the change of rows that are no tensor; None leaves them.
    """
    if isinstance(x, Tensor):
        return change(x, *others)
    if isinstance(x, Mapping):
        return {
            key: mapped(change, part, *(other[key] for other in others), rows=rows)
            for key, part in x.items()
        }
    if are_rows(x):
        return x if rows is None else rows(x, *others)
    parts = [mapped(change, *together, rows=rows) for together in zip(x, *others, strict=True)]
    if isinstance(x, list):
        return parts
    return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)


def gather(x: Any, row: Tensor) -> Any:
    """The rows of each tensor, in a structure like that of ``x``; a mapping becomes a dict.

    For rows that are no tensor the host waits to know which.
    """
    if isinstance(x, Tensor):  # each step comes here, mostly with a tensor
        return x.index_select(0, row)

    def rows(part: Any) -> Any:
        picked = row.tolist()
        return part[picked] if _is_array(part) else type(part)(part[i] for i in picked)

    return mapped(lambda part: part.index_select(0, row), x, rows=rows)


def split(x: Any, n: int) -> tuple[Any, Any]:
    """The first n rows and the others, without a copy."""
    return _sliced(x, slice(n)), _sliced(x, slice(n, None))


def narrow(x: Any, begin: int, end: int) -> Any:
    """The rows from one to another, without a copy."""
    return _sliced(x, slice(begin, end))


def _sliced(x: Any, rows: slice) -> Any:
    return mapped(lambda part: part[rows], x, rows=lambda part: part[rows])


def with_format(x: Any, memory_format: torch.memory_format) -> Any:
    """The tensors that have as many dimensions as the memory format is for, in that format."""
    dimensions = 4 if memory_format == torch.channels_last else 5

    def change(part: Tensor) -> Tensor:
        if part.dim() != dimensions:
            return part
        part = part.contiguous(memory_format=memory_format)
        # A single channel is in both formats; which one torch goes by are its strides.
        return part[:, 0, ..., None].movedim(-1, 1) if part.shape[1] == 1 else part

    return mapped(change, x)


def tensors_of(x: Any) -> Iterator[Tensor]:
    """All tensors of a batch."""
    if isinstance(x, Tensor):
        yield x
        return
    if are_rows(x):
        return
    for part in x.values() if isinstance(x, Mapping) else x:
        yield from tensors_of(part)


def numbers_per_row(x: Any) -> int:
    """How many numbers a row has, in all tensors."""
    if isinstance(x, Tensor):
        return x.numel() // max(1, x.shape[0])
    return sum(part.numel() // max(1, part.shape[0]) for part in tensors_of(x))


def join(x: Any, other: Any) -> Any:
    """The rows of ``x`` and then those of ``other``, in the structure and on the device of it."""

    def rows(part: Any, first: Any) -> list[Any]:
        return [*first, *part]

    return mapped(lambda part, first: torch.cat([first.to(part.device), part]), other, x, rows=rows)


def copied(x: Any) -> Any:
    """A copy, which is not differentiated."""
    return mapped(lambda part: part.detach().clone(), x, rows=copy)


def moved(x: Any, device: torch.device) -> Any:
    """A copy on a device."""
    return mapped(lambda part: part.to(device, copy=True), x, rows=copy)


def copy_into(x: Any, other: Any) -> None:
    """Writes the values of ``other`` into the tensors of ``x``, without waiting for a device."""
    mapped(lambda part, new: part.copy_(new.detach(), non_blocking=True), x, other)


def layout(x: Any) -> Any:
    """What is equal for batches that fit into each other's memory; hashable."""
    if isinstance(x, Tensor):
        return x.shape, x.dtype, x.device
    if are_rows(x):
        raise TypeError(
            f"the batch has rows that are no tensor, a {type(x).__name__}, which a graph cannot "
            "take: leave them out, or call the selector itself"
        )
    if isinstance(x, Mapping):
        return tuple((key, layout(part)) for key, part in x.items())
    return type(x), tuple(layout(part) for part in x)


def layout_of_row(x: Any) -> Any:
    """What is equal for batches whose tensors, one after the other, have rows alike."""
    if isinstance(x, Tensor):
        return list(x.shape[1:]), x.dtype
    if are_rows(x):
        raise TypeError(
            f"the batch has rows that are no tensor, a {type(x).__name__}, which ranks do not "
            "exchange: leave them out, or make the selector with exchange=False"
        )
    if isinstance(x, Mapping):
        return {key: layout_of_row(part) for key, part in x.items()}
    return [layout_of_row(part) for part in x]


def plain(x: Any) -> Any:
    """The same with tuples for named tuples, tensors for tensors of subclasses, lists for arrays.

    ``torch.load`` takes it with weights_only.
    """
    if isinstance(x, Tensor):
        return x.as_subclass(Tensor)
    if isinstance(x, Mapping):
        return {key: plain(part) for key, part in x.items()}
    if are_rows(x):
        return x.tolist() if _is_array(x) else x
    parts = [plain(part) for part in x]
    return parts if isinstance(x, list) else tuple(parts)


def _are_sequences(x: Any, other: Any) -> bool:
    return isinstance(x, tuple | list) and isinstance(other, tuple | list)


def _described(x: Any) -> str:
    if isinstance(x, Mapping):
        return f"a mapping of {sorted(map(str, x))}"
    if isinstance(x, tuple | list):
        return f"{len(x)} parts"
    return type(x).__name__
