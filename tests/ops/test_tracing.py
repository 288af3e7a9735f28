"""A mistake shows while tracing: the fakes refuse what the operators refuse, in the same words."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import impsamp_fast as isf
from tests.ops.bad_arguments import BAD_VALUES, CASES, good

TENSORS = {
    *("logits", "target", "class_weight", "features", "weights", "seed", "scores", "ignored"),
    *("prob", "drawn_by"),
}
# Numbers that the fakes know too; of names and other numbers only the kernels know which there are.
TRACED = ("n", "label_smoothing", "smoothing", "seed", "rows")


def flawless(argument: str, value: Tensor) -> Tensor:
    """A tensor of the same form whose numbers cannot be what is wrong."""
    if value.layout != torch.strided:
        return value
    if argument == "target":
        value = torch.zeros_like(value)
        if value.is_floating_point() and value.dim():
            value[..., :1] = 1
        return value
    return torch.zeros_like(value) if argument == "ignored" else torch.ones_like(value)


def is_bad_form(operator: str, argument: str, value: Any) -> bool:
    """Whether it is the argument's kind, shape, dtype, layout or device that is wrong."""
    if not isinstance(value, Tensor):
        return argument in TRACED and not (argument == "n" and value == 21)
    if argument not in TENSORS:
        return False
    try:
        getattr(isf, operator)(**good(operator) | {argument: flawless(argument, value)})
    except (ValueError, TypeError):
        return True
    return False


def dtypes_aside(message: str) -> str:
    """C++ calls a dtype by another name than Python."""
    return re.sub(r"(has dtype|the result has) \S+(?=,|$)", r"\1", message).replace(
        "torch.sparse_coo", "Sparse"
    )


FORMS = [
    (operator, argument, value)
    for operator, argument in CASES
    for value in BAD_VALUES[argument]
    if is_bad_form(operator, argument, value)
]


def test_there_are_such_cases() -> None:
    assert {argument for _, argument, value in FORMS if isinstance(value, Tensor)} == TENSORS


@pytest.mark.parametrize(("operator", "argument", "value"), FORMS)
def test_a_bad_form_raises_in_fake_mode_as_it_does_eagerly(
    operator: str, argument: str, value: Any
) -> None:
    given = good(operator) | {argument: value}
    with pytest.raises((ValueError, TypeError)) as eager:
        getattr(isf, operator)(**given)
    with FakeTensorMode() as mode:
        fake = {k: mode.from_tensor(v) if isinstance(v, Tensor) else v for k, v in given.items()}
        with pytest.raises(eager.type) as traced:
            getattr(isf, operator)(**fake)
    if not isinstance(value, Tensor):
        assert argument in str(traced.value)
        return
    first = str(eager.value).splitlines()[0]
    assert dtypes_aside(str(traced.value)) == dtypes_aside(first)


COMPILED = {(operator, argument): value for operator, argument, value in FORMS}


@pytest.mark.parametrize(
    ("operator", "argument"),
    [case for case, value in COMPILED.items() if isinstance(value, Tensor) and not value.is_sparse],
)
def test_a_bad_form_raises_under_compile(operator: str, argument: str) -> None:
    torch.compiler.reset()
    given = good(operator) | {argument: COMPILED[operator, argument]}
    compiled = torch.compile(getattr(isf, operator), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match=f"{argument} (has|is)"):
        compiled(**given)
    torch.compiler.reset()


@pytest.mark.parametrize("operator", ["row_stats", "score", "draw", "select"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"has shape \[.*\], but the result has \["),
        ("dtype", "has dtype torch.float16, but the result has torch"),
        ("stride", "has strides .*, but must be contiguous"),
    ],
)
def test_a_bad_out_raises_in_fake_mode(operator: str, fault: str, message: str) -> None:
    result = getattr(isf, operator)(**good(operator))
    tensors = (result,) if isinstance(result, Tensor) else tuple(result)
    first = tensors[0]
    bad = {
        "shape": first.new_empty((*first.shape, 1)),
        "dtype": first.to(torch.float16),
        "stride": first.new_empty((*first.shape, 2))[..., 0],
    }[fault]
    with FakeTensorMode() as mode:
        given = good(operator)
        fake = {k: mode.from_tensor(v) if isinstance(v, Tensor) else v for k, v in given.items()}
        places = [mode.from_tensor(place) for place in (bad, *tensors[1:])]
        out = places[0] if isinstance(result, Tensor) else type(result)(*places)
        name = "out" if isinstance(result, Tensor) else rf"out\.{result._fields[0]}"
        with pytest.raises((ValueError, TypeError), match=f"^{name} {message}"):
            getattr(isf, operator)(**fake, out=out)


def test_a_mistake_under_dynamic_shapes() -> None:
    torch.compiler.reset()
    compiled = torch.compile(isf.score, backend="eager", fullgraph=True, dynamic=True)
    assert compiled(torch.randn(7, 3), torch.zeros(7).long()).shape == (7,)
    with pytest.raises(Exception, match="target has shape"):
        compiled(torch.randn(9, 3), torch.zeros(8).long())
    torch.compiler.reset()
