"""What is a number is taken as one, of whatever kind; and an error blames the argument it is in."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests.ops.bad_arguments import OPERATORS, good

SEED = 2**63 + 5


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, Tensor):
        return torch.equal(found, expected)
    return all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    ("operator", "plain", "other"),
    [
        *[("draw", {"n": 4}, {"n": n}) for n in (np.int32(4), np.uint8(4), torch.tensor(4))],
        *[("select", {"n": 4}, {"n": n}) for n in (np.int64(4), np.array(4), torch.tensor([4]))],
        *[("draw", {"seed": SEED}, {"seed": seed}) for seed in (SEED - 2**64, np.uint64(SEED))],
        ("select", {"seed": SEED}, {"seed": np.uint64(SEED)}),
        ("score", {"ignore_index": 3}, {"ignore_index": np.int16(3)}),
        ("row_stats", {"label_smoothing": 0.25}, {"label_smoothing": np.float32(0.25)}),
        ("row_stats", {"label_smoothing": 0.25}, {"label_smoothing": torch.tensor(0.25)}),
        ("row_stats", {"label_smoothing": 1.0}, {"label_smoothing": 1}),
        ("select", {"smoothing": 0.25}, {"smoothing": np.float16(0.25)}),
        ("smoothed", {"smoothing": 0.25}, {"smoothing": torch.tensor(0.25)}),
        ("select", {"correction": 0.5}, {"correction": np.float32(0.5)}),
        ("corrected", {"correction": 2.0}, {"correction": np.int64(2)}),
        ("corrected", {"correction": 0.5}, {"correction": torch.tensor(0.5)}),
        ("corrected", {"rows": 30}, {"rows": np.int8(30)}),
    ],
)
def test_numbers_of_any_kind(operator: str, plain: dict[str, Any], other: dict[str, Any]) -> None:
    call, given = getattr(isf, operator), good(operator)
    assert same(call(**given | other), call(**given | plain))


@pytest.mark.parametrize("operator", OPERATORS)
def test_numbers_that_are_taken_are_not_blamed(operator: str) -> None:
    """Whatever else is wrong: a seed beyond 2^63, numpy's scalars and tensors are fine."""
    fine: list[tuple[str, Any]] = [
        *[("seed", SEED), ("seed", np.uint64(SEED)), ("n", np.int64(4)), ("rows", np.int64(30))],
        *[("label_smoothing", np.float32(0.1)), ("smoothing", np.float64(0.1))],
        *[("correction", np.float32(0.5)), ("ignore_index", np.int32(-100))],
    ]
    for name, value in fine:
        given = good(operator)
        if name not in given:
            continue
        for wrong in given.keys() - {name}:
            with pytest.raises((TypeError, ValueError)) as caught:
                getattr(isf, operator)(**given | {name: value, wrong: object()})
            assert str(caught.value).startswith(f"{wrong} is object <"), (name, wrong)


@pytest.mark.parametrize("operator", ["draw", "select"])
@pytest.mark.parametrize("n", [np.float32(2.5), np.float64(2), torch.tensor(2.0), 2.0, "4"])
def test_what_is_cut_off_is_no_integer(operator: str, n: Any) -> None:
    with pytest.raises(TypeError, match=r"^n is .*, but must be an int$"):
        getattr(isf, operator)(**good(operator) | {"n": n})


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operators_own_error_passes_unchanged(operator: str) -> None:
    given = good(operator)
    name = next(name for name in ("logits", "weights", "scores", "prob") if name in given)
    seeded = {"seed": SEED} if "seed" in given else {}
    with pytest.raises(TypeError, match=f"^{name} has dtype Long, but must be float32"):
        getattr(isf, operator)(**given | seeded | {name: given[name].long()})
