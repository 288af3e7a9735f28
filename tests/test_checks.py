"""What counts as an integer, a number or losses, wherever an argument is one."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from impsamp_fast._checks import check_integer, check_losses, check_number
from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.draw_rules import LossSplit
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After
from impsamp_fast.dataset import OnlineBatchSelection, RecencyBias
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.dataset.sample_memory import SampleMemory
from tests.toy import N

MODEL = nn.Identity()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("steps", After),
        ("size", PickCounts),
        ("k", PickCounts(5).most),
        ("q", LossSplit),
        ("size", SampleMemory),
        ("history", lambda value: SampleMemory(5, history=value)),
        ("classes", lambda value: RecencyBias(5, 5, value)),
        ("epochs", lambda value: OnlineBatchSelection(5, value)),
        ("block", lambda value: OnlineBatchSelection(5, 5, block=value)),
        ("n", lambda value: Selector(MODEL, value)),
        ("seed", lambda value: Selector(MODEL, N, seed=value)),
        ("patience", lambda value: Accumulator(MODEL, N, AccuracyFilter(), patience=value)),
        ("history", lambda value: SelectiveBackprop(MODEL, N, history=value)),
    ],
)
@pytest.mark.parametrize("value", [2.5, torch.tensor(2.5), torch.tensor([2, 3]), np.float32(2)])
def test_what_is_no_integer_is_named(name, make, value):
    with pytest.raises(TypeError, match=f"^{name} is .*, expected an integer"):
        make(value)


@pytest.mark.parametrize("value", [3, np.int32(3), torch.tensor(3), torch.tensor([3])])
def test_integers_of_any_kind(value):
    number = check_integer("n", value, 3, 3)
    assert type(number) is int
    assert number == 3


@pytest.mark.parametrize("value", [2, 5])
def test_integers_have_bounds(value):
    with pytest.raises(ValueError, match=f"^n is {value}, expected between 3 and 4$"):
        check_integer("n", value, 3, 4)


@pytest.mark.parametrize(
    "value", [3, 3.0, np.int32(3), np.float32(3), np.array(3.0), torch.tensor(3), torch.tensor(3.0)]
)
def test_numbers_of_any_kind(value):
    number = check_number("p", value, 3, 3, open_high=False)
    assert type(number) is float
    assert number == 3


@pytest.mark.parametrize("value", ["3", None, 3j, [3], np.ones(2), torch.ones(2)])
def test_what_is_no_number_is_named(value):
    with pytest.raises(TypeError, match=r"^p is .*, expected a number$"):
        check_number("p", value, 0)


def test_numbers_have_open_and_closed_bounds():
    check_number("p", 1, 0, 1, open_high=False)
    check_number("p", 0, 0, 1)
    check_number("p", -1e308)
    for value, bounds, options, message in (
        (1, (0, 1), {}, "a number with 0 <= p < 1"),
        (0, (0, 1), {"open_low": True}, "a number with 0 < p < 1"),
        (1.5, (0, 1), {"open_high": False}, "a number with 0 <= p <= 1"),
        (math.nan, (0, 1), {"open_high": False}, "a number with 0 <= p <= 1"),
        (math.inf, (0,), {"open_high": False}, "a number with 0 <= p"),
        (-math.inf, (), {}, "a finite number"),
    ):
        with pytest.raises(ValueError, match=f"^p is {value}, expected {message}$"):
            check_number("p", value, *bounds, **options)


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        (1.0, TypeError, "losses is float, expected a floating-point tensor"),
        (torch.ones(2).long(), TypeError, "losses is a tensor of torch.int64, expected"),
        (torch.ones(3), ValueError, r'shape \[3\], expected \[2\], .*reduction="none"'),
    ],
)
def test_losses_are_one_per_row(losses, error, message):
    with pytest.raises(error, match=message):
        check_losses(losses, 2)
