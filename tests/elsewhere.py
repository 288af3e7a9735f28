"""An accelerator that is played by the CPU, for what the package does around its operators.

Tensors say that they are elsewhere. The operators do there what the CUDA kernels do with values
that the CPU's raise for: they mark them. What makes the host wait is counted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

# Of any accelerator that torch knows without having it.
DEVICE = torch.device("mps")

# What the host has to wait for: a value, or a number of values.
_WAIT = ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero", "masked_select", "unique")


class Elsewhere(Tensor):
    """Says that it is on an accelerator; its values are here, and copies to the CPU are counted."""

    values: Tensor
    copies = 0
    waits = 0  # for a value, or a number of values
    coming: ClassVar[list[tuple[Tensor, Tensor]]] = []  # copies to the CPU since the last event

    @staticmethod
    def __new__(cls, values: Tensor) -> "Elsewhere":
        found = Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype, device=DEVICE)
        found.values = values
        return found

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """What Python calls runs on the values."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "copy_" and not isinstance(args[0], cls) and kwargs.get("non_blocking"):
            cls.coming.append((args[0], args[1].values))
            return args[0].fill_(0)
        if name == "__get__":  # device, is_cpu and their like
            return super().__torch_function__(func, types, args, kwargs)
        boolean = name == "__getitem__" and getattr(args[1], "dtype", None) == torch.bool
        cls.waits += name in _WAIT or boolean
        device = args[1] if name == "to" and len(args) > 1 else kwargs.get("device")
        if name == "cpu" or str(device) == "cpu":
            cls.copies += 1
            return func(*_values((args, kwargs))[0], **_values(kwargs))
        here = [torch.device("cpu") if value == DEVICE else value for value in _values(args)]
        named = {key: "cpu" if value == DEVICE else value for key, value in kwargs.items()}
        result = func(*here, **_values(named))
        if args and isinstance(args[0], cls) and result is args[0].values:
            return args[0]
        return tree_map_only(Tensor, cls, result)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        """What the extension calls: the operators, and what those call that are no kernel."""
        args, kwargs = _values((args, kwargs or {}))
        if func.namespace == "impsamp_fast":
            return tree_map_only(Tensor, cls, _marked(func, args, kwargs))
        return tree_map_only(Tensor, cls, func(*args, **kwargs))


class Event:
    """Stands for ``torch.mps.Event``: a copy is wrong until somebody asks, or waits, for it."""

    def record(self) -> None:
        self._coming, Elsewhere.coming = Elsewhere.coming, []
        self._copies = len(self._coming)

    def query(self) -> bool:
        self._arrive()
        return True

    def synchronize(self) -> None:
        Elsewhere.copies += self._copies
        self._arrive()

    def _arrive(self) -> None:
        for place, values in self._coming:
            place.copy_(values)
        self._coming = []


def _values(tree: Any) -> Any:
    return tree_map_only(Elsewhere, lambda tensor: tensor.values, tree)


def elsewhere(value: Tensor) -> Elsewhere:
    """A copy on the accelerator."""
    return Elsewhere(value.clone())


class _Factories(TorchFunctionMode):
    """Makes tensors on the accelerator where that is asked for."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if any(issubclass(kind, Elsewhere) for kind in types):
            return func(*args, **kwargs)
        if func is Tensor.to and DEVICE in (*args[1:], kwargs.get("device")):
            return elsewhere(args[0])
        if kwargs.get("device") == DEVICE:
            return Elsewhere(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)


@contextmanager
def accelerator() -> Iterator[None]:
    """Where this is active, tensors can be made on the accelerator."""
    with _Factories():
        yield


def _marked(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the operator does on the CPU, and where it raises for values, marks as CUDA's are."""
    try:
        return func(*args, **kwargs)
    except (ValueError, IndexError):
        schema = func._schema.arguments
        defaults = {one.name: one.default_value for one in schema if one.has_default_value()}
        given = {one.name: value for one, value in zip(schema, args, strict=False)}
        arguments = defaults | given | kwargs
        return _MARKS[func._opname](func, arguments)


def _marked_rows(func: Any, arguments: dict[str, Any]) -> Any:
    """Statistics or scores, NaN where a row by itself raises."""
    rows = ("logits", "target", "features")
    whole = {name: arguments[name] for name in rows if arguments.get(name) is not None}

    def of(row: slice) -> Any:
        return func(**arguments | {name: value[row] for name, value in whole.items()})

    nothing = of(slice(0, 0))  # what the host sees raises on every device
    nan = tree_map_only(Tensor, lambda t: t.new_full((1,), torch.nan), nothing)

    def of_one(row: int) -> Any:
        try:
            return of(slice(row, row + 1))
        except (ValueError, IndexError):
            return nan

    found = [of_one(row) for row in range(whole["logits"].shape[0])]
    if isinstance(nothing, Tensor):
        return torch.cat(found)
    return tuple(map(torch.cat, zip(*found, strict=True)))


def _marked_draw(func: Any, arguments: dict[str, Any]) -> Any:
    weights, n = arguments["weights"], arguments["n"]
    dtype = torch.float64 if weights.dtype == torch.float64 else torch.float32
    return torch.arange(n) % len(weights), torch.full((n,), torch.nan, dtype=dtype)


def _marked_smoothed(func: Any, arguments: dict[str, Any]) -> Any:
    nothing = func(**arguments | {"scores": torch.zeros_like(arguments["scores"]), "ignored": None})
    return tuple(value.fill_(torch.nan) for value in nothing)


def _marked_select(func: Any, arguments: dict[str, Any]) -> Any:
    """A selection whose status says what went wrong."""
    options = ("label_smoothing", "class_weight", "ignore_index")
    shared = {name: arguments[name] for name in ("logits", "target", "features", *options)}
    score = torch.ops.impsamp_fast.score.default
    scores = _marked_rows(score, shared | {"kind": arguments["score"]})
    loss = _marked_rows(score, shared | {"kind": "loss", "features": None})
    target, n = arguments["target"], arguments["n"]
    ignored = torch.zeros_like(scores, dtype=torch.bool)
    if not target.is_floating_point():
        ignored = target == arguments["ignore_index"]
    faulty = ~scores.isfinite()
    index = torch.arange(n) % len(scores)
    if faulty.any():
        status = 1 + int(faulty.nonzero()[0])
        usable = (~faulty & ~ignored).nonzero()
        index = index if usable.numel() == 0 else torch.full((n,), int(usable[0]))
    else:
        status = -1 - int((scores > 0).sum()) * int(not ignored.all())
    nothing = torch.zeros(n, dtype=scores.dtype)
    return index, nothing, scores, loss, scores.new_tensor(torch.nan), torch.tensor(status)


_MARKS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "row_stats": _marked_rows,
    "score": _marked_rows,
    "draw": _marked_draw,
    "select": _marked_select,
    "smoothed": _marked_smoothed,
}
