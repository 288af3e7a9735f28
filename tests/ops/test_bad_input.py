"""Whatever is passed, the answer is a result or an error that names the argument; never a crash."""

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import impsamp_fast as isf
from tests.dtypes import DTYPES
from tests.methods import METHODS
from tests.ops.bad_arguments import (
    BAD_VALUES,
    CASES,
    ERRORS,
    INF,
    KINDS,
    MESSAGES,
    NAN,
    OPERATORS,
    good,
    with_entry,
)

pytestmark = pytest.mark.usefixtures("carried_operators")


def test_the_good_arguments_are_good() -> None:
    for operator in OPERATORS:
        getattr(isf, operator)(**good(operator))


@pytest.mark.parametrize(("operator", "change", "error", "message"), MESSAGES)
def test_message(
    operator: str, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(isf, operator)(**good(operator) | change)


@pytest.mark.parametrize(("operator", "argument"), CASES)
def test_every_bad_value_is_named(operator: str, argument: str) -> None:
    arguments = good(operator)
    if argument == "generator":
        del arguments["seed"]
    for value in BAD_VALUES[argument]:
        with pytest.raises(ERRORS) as caught:
            getattr(isf, operator)(**arguments | {argument: value})
        message = str(caught.value)
        assert argument in message, f"{value!r}: {message}"
        assert len(message) < 1000, "a message is read by people"
        assert message.count("\n") <= 1


@pytest.mark.parametrize("operator", ["row_stats", "score", "draw", "select"])
def test_missing_and_unknown_arguments(operator: str) -> None:
    with pytest.raises(TypeError):
        getattr(isf, operator)()
    with pytest.raises(TypeError):
        getattr(isf, operator)(**good(operator), colour="red")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([*METHODS, *KINDS, "unbiased", "none", "normalized"]),
    st.lists(st.floats(), max_size=3),
)
ANY_DTYPE = [
    *DTYPES,
    *(torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool, torch.complex64),
]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Any dtype, any small shape, often with awkward numbers and strides."""
    shape = draw(st.lists(st.integers(0, 5), max_size=3))
    dtype = draw(st.sampled_from(ANY_DTYPE))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    x = torch.randint(-1, 4, shape, generator=generator).to(dtype)
    if x.numel() and dtype.is_floating_point:
        awkward = draw(st.sampled_from([None, None, NAN, INF, -INF, -1.0, 0.0, 3e4]))
        if awkward is not None:
            x.view(-1)[draw(st.integers(0, x.numel() - 1))] = awkward
    if x.dim() >= 2 and draw(st.booleans()):
        x = x.transpose(0, 1)
    return x


@pytest.mark.parametrize("operator", ["row_stats", "score", "draw", "select"])
@settings(max_examples=700)
@given(data=st.data())
def test_any_objects_at_all(operator: str, data: st.DataObject) -> None:
    arguments = good(operator, rows=5, classes=4)
    changed = data.draw(st.lists(st.sampled_from(sorted(arguments)), min_size=1, unique=True))
    for argument in changed:
        arguments[argument] = data.draw(st.one_of(ANYTHING, tensors()), argument)
    if isinstance(arguments.get("n"), int) and arguments["n"] > 10**6:
        arguments["n"] = 2**70  # too large to try, and too large for the operator
    try:
        result = getattr(isf, operator)(**arguments)
    except ERRORS as error:
        named = [name for name in arguments if name in str(error)]
        assert named, str(error)
    else:
        for value in result if isinstance(result, tuple) else (result,):
            assert isinstance(value, torch.Tensor)


@settings(max_examples=700)
@given(data=st.data())
def test_one_bad_number_is_found_wherever_it_is(data: st.DataObject) -> None:
    """Its place among the rows and in the vectors does not matter, nor what the numbers are."""
    rows, classes = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 40))
    dtype = data.draw(st.sampled_from(DTYPES[:4]))
    logits = torch.randn(rows, classes).to(dtype)
    target = torch.randint(classes, (rows,))
    row = data.draw(st.integers(0, rows - 1))
    column = data.draw(st.integers(0, classes - 1))
    bad = data.draw(st.sampled_from(["nan", "inf", "target", "masked"]))
    if bad == "target":
        target[row] = data.draw(st.sampled_from([classes, -1, 2**40, -(2**63)]))
        error: type[Exception] = IndexError
        message = rf"target\[{row}\] is {target[row]}, but there are {classes} class"
    elif bad == "masked":
        logits[row], error, message = -INF, ValueError, "logits"
    else:
        logits[row, column], error, message = float(bad), ValueError, "logits"
    threads = data.draw(st.sampled_from([1, 2]))
    torch.set_num_threads(threads)
    with pytest.raises(error, match=message):
        isf.row_stats(logits, target)
    for kind in data.draw(st.lists(st.sampled_from(KINDS), max_size=2)):
        features = torch.ones(rows, 2) if kind == "last_layer" else None
        with pytest.raises(error, match=message):
            isf.score(logits, target, kind, features)
        with pytest.raises(error, match=message):
            isf.select(logits, target, 1, kind, features=features)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 10, 1000, 100_000])
def test_rounded_probabilities_sum_to_one(classes: int, dtype: torch.dtype) -> None:
    """A softmax, uniform rows and a mixture, computed in the dtype itself."""
    logits = torch.zeros(5, classes)
    for size in (0.0, 1.0, 5.0, 20.0):
        softmax = (size * torch.randn(5, classes)).to(dtype).softmax(-1)
        mixed = softmax * 0.3 + softmax.flip(0) * 0.7
        for target in (softmax, mixed, torch.full((5, classes), 1 / classes, dtype=dtype)):
            isf.row_stats(logits, target)
            for factor in (0.9, 1.1):
                with pytest.raises(ValueError, match=r"target\[0\] sums to "):
                    isf.row_stats(logits, (factor * target.double()).to(dtype))


def test_of_bad_logits_and_a_bad_sum_the_logits_are_named() -> None:
    target = torch.full((4, 3), 0.5)
    with pytest.raises(ValueError, match=r"logits\[0, 1\] is nan"):
        isf.row_stats(with_entry(torch.zeros(4, 3), (0, 1), NAN), target)
    with pytest.raises(ValueError, match=r"logits\[0\] is -inf in every class"):
        isf.row_stats(with_entry(torch.zeros(4, 3), 0, -INF), target)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_refused(layout: torch.layout) -> None:
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=layout)
    tensors = {
        "row_stats": ("logits", "target", "class_weight"),
        "score": ("logits", "target", "class_weight", "features"),
        "draw": ("weights",),
        "select": ("logits", "target", "class_weight", "features"),
    }
    for operator, arguments in tensors.items():
        for argument in arguments:
            with pytest.raises(TypeError, match=f"{argument} is a nested tensor"):
                getattr(isf, operator)(**good(operator) | {argument: nested})


def test_a_bad_target_in_a_later_thread_is_found() -> None:
    torch.set_num_threads(2)
    logits, target = torch.zeros(200_000, 3), torch.zeros(200_000).long()
    for row in (0, 99_999, 100_000, 199_999):
        with pytest.raises(IndexError, match=rf"target\[{row}\] is 3, but there are 3 classes"):
            isf.row_stats(logits, with_entry(target, row, 3))
        with pytest.raises(ValueError, match="logits"):
            isf.row_stats(with_entry(logits, (row, 2), NAN), target)
        with pytest.raises(ValueError, match=rf"weights\[{row}\]"):
            isf.draw(with_entry(logits[:, 0] + 1, row, -2.0), 5)


def test_the_first_of_several_is_named() -> None:
    torch.set_num_threads(8)
    target = torch.zeros(100_000).long()
    target[[700, 60_000, 99_000]] = torch.tensor([4, 5, 6])
    for _ in range(20):
        with pytest.raises(IndexError, match=r"target\[700\] is 4"):
            isf.row_stats(torch.zeros(100_000, 3), target)
        weights = torch.ones(100_000)
        weights[[800, 70_000]] = -1.0
        with pytest.raises(ValueError, match=r"weights\[800\]"):
            isf.draw(weights, 3)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [3, 700])
def test_the_first_faulty_row_is_named(classes: int, label_smoothing: float) -> None:
    """Whatever its fault: rows next to each other share a tile in the kernels."""
    for logit_row, target_row in ((2, 5), (5, 2)):
        logits, target = torch.zeros(8, classes), torch.zeros(8, dtype=torch.int64)
        logits[logit_row, 1] = NAN
        target[target_row] = classes
        name = r"logits\[2, 1\]" if logit_row == 2 else r"target\[2\]"
        with pytest.raises((ValueError, IndexError), match=name):
            isf.row_stats(logits, target, label_smoothing=label_smoothing)
