"""The operators without values: the shapes and dtypes that they return, and those that they refuse.

They run under ``torch.compile`` and ``FakeTensorMode`` and for tensors on ``meta``, where a mistake
shows while tracing. What they say of an argument is what the operators say (csrc/rows.cpp,
csrc/ops.cpp, csrc/results.cpp).
"""

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

import impsamp_fast._extension  # noqa: F401 (defines the operators)

_Fake = Callable[[SimpleNamespace], tuple[Tensor, ...]]


class Signature(NamedTuple):
    """What an operator is called with and returns."""

    arguments: Callable[[Sequence[Any], dict[str, Any]], SimpleNamespace]  # by name, with defaults
    results: Sequence[str]
    fake: _Fake  # checks the arguments and makes places for the results on their device


SIGNATURES: dict[str, Signature] = {}

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INDICES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def fake_of(name: str, results: Sequence[str]) -> Callable[[_Fake], _Fake]:
    """Registers a function of an operator's arguments, by name, for both of its overloads."""
    overloads = getattr(torch.ops.impsamp_fast, name)
    schema = overloads.default._schema
    names = [argument.name for argument in schema.arguments]
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}

    def arguments(args: Sequence[Any], kwargs: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(**{**defaults, **dict(zip(names, args, strict=False))} | kwargs)

    def register(fake: _Fake) -> _Fake:
        signature = SIGNATURES[name] = Signature(arguments, results, fake)

        def fresh(*args: Any, **kwargs: Any) -> Tensor | tuple[Tensor, ...]:
            found = fake(arguments(args, kwargs))
            return found if len(results) > 1 else found[0]

        def out(*args: Any, **kwargs: Any) -> None:
            places = [kwargs.pop(f"out_{result}") for result in results]
            check_places(signature, places, arguments(args, kwargs))

        torch.library.register_fake(f"impsamp_fast::{name}", fresh)
        torch.library.register_fake(f"impsamp_fast::{name}.out", out)
        return fake

    return register


def check_places(
    signature: Signature, places: Sequence[Tensor], given: SimpleNamespace
) -> dict[str, Tensor]:
    """Checks that the results can be put where the caller wants them; returns those by name."""
    single = len(places) == 1
    called = ["out" if single else f"out.{result}" for result in signature.results]
    for name, place, expected in zip(called, places, signature.fake(given), strict=True):
        _check_place(name, place, expected)
    return dict(zip(called, places, strict=True))


def check_that(fits: bool, message: Callable[[], str]) -> None:
    """ValueError unless it fits; what is not known while tracing is checked when the graph runs."""
    torch._check_value(fits, message)  # type: ignore[no-untyped-call]


def check_type(fits: bool, message: Callable[[], str]) -> None:
    """TypeError unless it fits."""
    torch._check_type(fits, message)  # type: ignore[no-untyped-call]


def result_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def statistic(logits: Tensor) -> Tensor:
    """A number for each row."""
    return logits.new_empty(logits.shape[:-1], dtype=result_dtype(logits))


def check_rows(given: SimpleNamespace) -> int:
    """Checks logits, target and the options of the loss. Returns the number of rows."""
    logits, target, class_weight = given.logits, given.target, given.class_weight
    _check_float("logits", logits)
    check_that(
        logits.dim() >= 1 and logits.shape[-1] >= 1,
        lambda: f"logits has {_shape(logits)}, but must be [..., C] with at least one class",
    )
    indices = target.dtype in _INDICES
    check_type(
        indices or target.dtype in _FLOATS,
        lambda: (
            f"target has dtype {target.dtype}, but must be class indices (int64, int32, "
            "int16, int8 or uint8) or class probabilities (floating point)"
        ),
    )
    rows = logits.shape[:-1]
    check_that(
        not indices or target.shape == rows,
        lambda: (
            f"target has {_shape(target)}, but class indices for logits of {_shape(logits)} have "
            f"shape {list(rows)}"
        ),
    )
    check_that(
        indices or target.shape == logits.shape,
        lambda: (
            f"target has {_shape(target)}, but class probabilities have the shape of logits, "
            f"{list(logits.shape)}"
        ),
    )
    _check_device("target", target, "logits", logits)
    check_share("label_smoothing", given.label_smoothing)
    if class_weight is not None:
        _check_float("class_weight", class_weight, "a floating-point tensor")
        check_that(
            class_weight.shape == logits.shape[-1:],
            lambda: (
                f"class_weight has {_shape(class_weight)}, but there are {logits.shape[-1]} classes"
            ),
        )
        _check_device("class_weight", class_weight, "logits", logits)
    return math.prod(rows)  # torch.Size.numel() would fix a number that may vary


def check_features(given: SimpleNamespace, argument: str) -> None:
    """Checks the features for the kind of score that was passed as ``argument``."""
    kind, features, rows = getattr(given, argument), given.features, given.logits.shape[:-1]
    if kind != "last_layer":
        check_that(
            features is None,
            lambda: (
                f'features is given, but {argument} is "{kind}" and only "last_layer" uses features'
            ),
        )
        return
    check_that(
        features is not None,
        lambda: 'features is None, but "last_layer" needs the input of the last layer, [..., D]',
    )
    _check_float("features", features)
    check_that(
        features.dim() >= 1 and features.shape[:-1] == rows,
        lambda: (
            f"features has {_shape(features)}, but must be [..., D] with the rows of logits, "
            f"{list(rows)}"
        ),
    )
    _check_device("features", features, "logits", given.logits)


def check_numbers(name: str, numbers: Tensor, shape: str) -> None:
    """Checks an argument of one dimension."""
    _check_float(name, numbers)
    check_that(numbers.dim() == 1, lambda: f"{name} has {_shape(numbers)}, but must be {shape}")


def check_like(name: str, tensor: Tensor, other: str, reference: Tensor) -> None:
    """Checks an argument that has the shape and the device of another."""
    check_that(
        tensor.shape == reference.shape,
        lambda: f"{name} has {_shape(tensor)}, but {other} has {list(reference.shape)}",
    )
    _check_device(name, tensor, other, reference)


def check_beside(
    name: str,
    numbers: Tensor,
    weights: Tensor,
    shape: tuple[int, ...] = (),
    dtype: torch.dtype = torch.int64,
) -> None:
    """Checks numbers that lie beside weights."""
    _check_device(name, numbers, "weights", weights)
    check_type(
        numbers.dtype == dtype, lambda: f"{name} has dtype {numbers.dtype}, but must be {dtype}"
    )
    check_that(
        numbers.shape == shape, lambda: f"{name} has {_shape(numbers)}, but must be {list(shape)}"
    )


def check_count(n: int, rows: int, name: str) -> None:
    """Checks how many are drawn from the rows of the argument ``name``."""
    for fits in (n >= 1, n < 2**31):
        check_that(fits, lambda: f"n is {n}, but must be between 1 and 2^31 - 1")
    check_that(rows >= 1, lambda: f"{name} has no rows to draw from")
    check_that(
        rows < 2**31,
        lambda: f"{name} has {rows} rows, but at most 2^31 - 1 can be drawn from",
    )


def check_seed(given: SimpleNamespace, device: torch.device) -> None:
    """Checks what decides the draw."""
    seed = given.device_seed
    number_or_tensor = given.seed is not None or seed is not None
    check_that(
        not number_or_tensor or given.generator is None,
        lambda: "seed and generator are both given, but only one of them can decide",
    )
    if seed is None:
        return
    check_that(
        seed.device == device, lambda: f"seed is on {seed.device}, but the draw is on {device}"
    )
    check_type(
        seed.dtype == torch.int64,
        lambda: f"seed has dtype {seed.dtype}, but must be an integer or an int64 tensor",
    )
    check_that(seed.dim() == 0, lambda: f"seed has {_shape(seed)}, but a tensor must be a scalar")


def _shape(tensor: Tensor) -> str:
    return f"shape {list(tensor.shape)}"


def _check_float(
    name: str, tensor: Tensor, wanted: str = "float32, float64, float16 or bfloat16"
) -> None:
    check_type(
        tensor.layout == torch.strided,
        lambda: f"{name} has layout {tensor.layout}, but must be strided",
    )
    check_type(
        tensor.dtype in _FLOATS,
        lambda: f"{name} has dtype {tensor.dtype}, but must be {wanted}",
    )


def check_share(name: str, value: float) -> None:
    check_that(0 <= value <= 1, lambda: f"{name} is {value}, but must be between 0 and 1")


def _check_device(name: str, tensor: Tensor, other: str, reference: Tensor) -> None:
    check_that(
        tensor.device == reference.device,
        lambda: f"{name} is on {tensor.device}, but {other} is on {reference.device}",
    )


def _check_place(name: str, place: Tensor, expected: Tensor) -> None:
    """Checks that a result can be put where the caller wants it."""
    check_that(
        place.device == expected.device,
        lambda: f"{name} is on {place.device}, but the result is on {expected.device}",
    )
    check_type(
        place.dtype == expected.dtype,
        lambda: f"{name} has dtype {place.dtype}, but the result has {expected.dtype}",
    )
    check_that(
        place.shape == expected.shape,
        lambda: f"{name} has {_shape(place)}, but the result has {list(expected.shape)}",
    )
    check_that(
        place.is_contiguous(),
        lambda: f"{name} has strides {list(place.stride())}, but must be contiguous",
    )
