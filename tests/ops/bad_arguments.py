"""Arguments of the operators: good ones, and for each argument what is wrong."""

import inspect
from typing import Any

import torch

import impsamp_fast as isf

ERRORS = (ValueError, TypeError, IndexError)
OPERATORS = ["row_stats", "score", "draw", "select", "smoothed", "corrected"]
KINDS = ["loss", "grad_norm", "last_layer", "p_wrong", "margin", "entropy"]
NAN, INF = float("nan"), float("inf")


def good(operator: str, rows: int = 20, classes: int = 10) -> dict[str, Any]:
    """Arguments that the operator takes."""
    if operator == "draw":
        return {"weights": torch.rand(rows) + 0.1, "n": 4, "method": "race", "seed": 1}
    if operator == "smoothed":
        return {
            "scores": torch.rand(rows) + 0.1,
            "smoothing": 0.1,
            "ignored": torch.arange(rows) < 3,
        }
    if operator == "corrected":
        given = {"prob": torch.rand(rows) + 0.1, "drawn_by": torch.rand(rows) + 0.1, "rows": 50}
        return given | {"kind": "with replacement", "correction": 0.5}
    arguments: dict[str, Any] = {
        "logits": torch.randn(rows, classes),
        "target": torch.randint(classes, (rows,)),
        "label_smoothing": 0.1,
        "class_weight": torch.rand(classes),
        "ignore_index": -100,
    }
    if operator == "score":
        arguments |= {"kind": "last_layer", "features": torch.randn(rows, 3)}
    if operator == "select":
        arguments |= {"n": 4, "score": "last_layer", "features": torch.randn(rows, 3), "seed": 1}
        arguments |= {"method": "pps", "correction": "unbiased", "smoothing": 0.1}
    return arguments


def with_entry(x: torch.Tensor, at: Any, value: float) -> torch.Tensor:
    x = x.clone()
    x[at] = value
    return x


SEVERAL_LABELS = torch.eye(10)[[i % 10 for i in range(20)]] + torch.eye(10)[3]

MESSAGES: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    (
        "row_stats",
        {"target": with_entry(torch.zeros(20).long(), 17, 12)},
        IndexError,
        r"target\[17\] is 12, but there are 10 classes",
    ),
    (
        "row_stats",
        {"target": with_entry(torch.zeros(20).long(), 2, -1)},
        IndexError,
        r"target\[2\] is -1, but there are 10 classes",
    ),
    (
        "row_stats",
        {"target": SEVERAL_LABELS},
        ValueError,
        r"target\[0\] sums to 2, but class probabilities must sum to 1 .* several labels",
    ),
    (
        "select",
        {"target": with_entry(torch.full((20, 10), 0.1), 7, 0.0)},
        ValueError,
        r"target\[7\] sums to 0, but class probabilities must sum to 1",
    ),
    (
        "draw",
        {"weights": with_entry(torch.ones(20), 3, -1.0)},
        ValueError,
        r"weights\[3\] is -1, but weights must be finite and not negative",
    ),
    (
        "draw",
        {"weights": with_entry(torch.ones(20), 19, NAN)},
        ValueError,
        r"weights\[19\] is nan, but weights must be finite and not negative",
    ),
    (
        "draw",
        {"weights": with_entry(torch.ones(20), 0, INF)},
        ValueError,
        r"weights\[0\] is inf, but weights must be finite and not negative",
    ),
    (
        "draw",
        {"weights": torch.tensor([0.0, 1, 2, 3, 4]), "n": 10},
        ValueError,
        'n is 10, but only 4 weights are positive and method "race" draws without replacement',
    ),
    ("draw", {"method": "foo"}, ValueError, 'method is "foo", but must be one of .*multinomial'),
    ("draw", {"n": 0}, ValueError, "n is 0"),
    ("draw", {"weights": torch.zeros(0)}, ValueError, "weights"),
    ("score", {"kind": "foo"}, ValueError, 'kind is "foo", but must be one of .*grad_norm'),
    ("score", {"features": None}, ValueError, "features is None"),
    ("score", {"kind": "loss"}, ValueError, 'features is given, but kind is "loss"'),
    ("draw", {"generator": torch.Generator()}, ValueError, "seed and generator are both given"),
    ("select", {"score": "foo"}, ValueError, 'score is "foo", but must be one of .*grad_norm'),
    ("select", {"method": "foo"}, ValueError, 'method is "foo", but must be one of .*multinomial'),
    ("select", {"correction": "foo"}, ValueError, 'correction is "foo"'),
    ("select", {"n": 21}, ValueError, "n is 21, but only 20"),
    (
        "select",
        {
            "logits": torch.zeros(0, 10),
            "target": torch.zeros(0).long(),
            "features": torch.zeros(0, 3),
        },
        ValueError,
        "logits has no rows",
    ),
]


NOT_TENSORS = [None, 3, 2.5, "x", [[1.0, 2.0]], object(), torch.float32]
NOT_NUMBERS = [None, "x", [1], torch.zeros(2), object(), 1j]
NOT_NAMES = [None, 3, b"loss", ["loss"], torch.zeros(1)]
BAD_VALUES: dict[str, list[Any]] = {
    "logits": [
        *NOT_TENSORS,
        torch.tensor(1.0),
        torch.zeros(20, 0),
        torch.zeros(20, 10, dtype=torch.int64),
        torch.zeros(20, 10, dtype=torch.bool),
        torch.zeros(20, 10, dtype=torch.complex64),
        torch.zeros(20, 10).to_sparse(),
        with_entry(torch.zeros(20, 10), (19, 9), NAN),
        with_entry(torch.zeros(20, 10), (0, 0), INF),
        with_entry(torch.zeros(20, 10), 7, -INF),
        with_entry(torch.zeros(20, 10), 7, NAN).double(),
        with_entry(torch.zeros(20, 10), 7, NAN).half(),
        with_entry(torch.zeros(20, 10), 7, INF).bfloat16(),
    ],
    "target": [
        *NOT_TENSORS,
        torch.zeros(19).long(),
        torch.zeros(20, 1).long(),
        torch.zeros(()).long(),
        torch.zeros(20),
        torch.zeros(20, 9),
        torch.zeros(10, 20),
        torch.zeros(20, dtype=torch.bool),
        torch.zeros(20, dtype=torch.uint16),
        torch.full((20,), 200, dtype=torch.uint8),
        torch.full((20,), -1, dtype=torch.int16),
        torch.zeros(20, 10, dtype=torch.int64),
        torch.full((20,), 10),
        torch.full((20,), -1),
        torch.full((20,), 2**62),
        torch.full((20,), -(2**31)).int(),
        torch.zeros(20).long().to("meta"),
    ],
    "label_smoothing": [*NOT_NUMBERS, -0.1, 1.1, NAN, INF, 10**400],
    "class_weight": [
        *NOT_TENSORS[1:],
        torch.ones(9),
        torch.ones(10, 1),
        torch.ones(()),
        torch.ones(10).long(),
        torch.full((10,), NAN),
        torch.ones(10).to("meta"),
    ],
    "ignore_index": [*NOT_NUMBERS[1:], 1.5, 2**64, -(2**70)],
    "kind": [*NOT_NAMES, "", "LOSS", "loss\0", "\ud800"],
    "score": [*NOT_NAMES, "", "LOSS", "loss\0", "\ud800"],
    "features": [
        *NOT_TENSORS,
        torch.zeros(20),
        torch.zeros(19, 3),
        torch.zeros(20, 3, 1),
        torch.zeros(20, 3).long(),
        torch.zeros(20, 3).to("meta"),
    ],
    "weights": [
        *NOT_TENSORS,
        torch.tensor(1.0),
        torch.zeros(0),
        torch.ones(20, 2),
        torch.ones(20).long(),
        torch.ones(20).bool(),
        torch.ones(20).to(torch.complex64),
        torch.ones(20).to_sparse(),
        with_entry(torch.ones(20), 5, -1e-45),
        with_entry(torch.ones(20), 5, NAN).double(),
        with_entry(torch.ones(20), 5, -INF).half(),
        torch.full((20,), INF),
    ],
    "n": [*NOT_NUMBERS, 0, -1, 1.5, NAN, 2**63, -(2**80), 21],
    "method": [*NOT_NAMES, "", "Race", "race\0", "\ud800"],
    "correction": [None, "", "Unbiased", NAN, INF, [1], torch.zeros(2), object(), 1j, "\ud800"],
    "smoothing": [*NOT_NUMBERS, -0.1, 1.1, NAN, INF, 10**400],
    "scores": [
        *NOT_TENSORS,
        torch.tensor(1.0),
        torch.ones(0),
        torch.ones(20, 2),
        torch.ones(20).long(),
        torch.ones(19),
        torch.ones(20).to_sparse(),
        with_entry(torch.ones(20), 5, -1.0),
        with_entry(torch.ones(20), 5, NAN).double(),
    ],
    "ignored": [
        *NOT_TENSORS[1:],
        torch.zeros(20),
        torch.zeros(19).bool(),
        torch.zeros(20, 1).bool(),
        torch.ones(20).bool(),
        torch.zeros(20).bool().to("meta"),
    ],
    "prob": [
        *NOT_TENSORS,
        torch.tensor(1.0),
        torch.ones(19),
        torch.ones(20, 1),
        torch.ones(20).long(),
        torch.ones(20).to_sparse(),
    ],
    "drawn_by": [
        *NOT_TENSORS,
        torch.ones(19),
        torch.ones(20, 1),
        torch.ones(20).long(),
        torch.ones(20).to("meta"),
    ],
    "rows": [*NOT_NUMBERS, 0, -1, 1.5, NAN, 2**63, -(2**80)],
    "seed": [
        *("x", 1.5, 2**64, -(2**63) - 1, [1], object()),
        *(torch.zeros(2), torch.zeros(()), torch.zeros(1).long(), torch.tensor(1).int()),
        torch.tensor(1, device="meta"),
    ],
    "generator": ["x", 3, torch, object()],
    "out": [3, "x", [1.0], (), (torch.empty(1),), object(), torch.empty(3), isf.Draw(None, None)],
}


CASES = [
    (operator, argument)
    for operator in OPERATORS
    for argument in BAD_VALUES
    if argument in inspect.signature(getattr(isf, operator)).parameters
]
