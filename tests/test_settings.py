"""The repr of every part tells the settings that are not the defaults."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import impsamp_fast as isf
from impsamp_fast import strategies
from tests.toy import REQUIRED

MODEL = nn.Sequential(nn.Linear(5, 3))


def shifted(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return logits.sum(-1)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (isf.Always, "Always()"),
        (lambda: isf.After(10), "After(10)"),
        (lambda: isf.LossRatio(0.5), "LossRatio(0.5)"),
        (isf.VarianceReduction, "VarianceReduction()"),
        (lambda: isf.VarianceReduction(1.5), "VarianceReduction(threshold=1.5)"),
        (isf.BreakEven, "BreakEven()"),
        (isf.AccuracyFilter, "AccuracyFilter()"),
        (lambda: isf.TopQuantile(0.25), "TopQuantile(0.25)"),
        (lambda: isf.ScoringPass(64, compile=True), "ScoringPass(chunk=64, compile=True)"),
        (lambda: isf.ScoringPass(model=MODEL), "ScoringPass(model=Sequential)"),
        (lambda: isf.Selector(MODEL, 128), "Selector(Sequential, 128)"),
        (
            lambda: isf.Selector(MODEL, 8, score=shifted, start=isf.After(3), seed=0),
            "Selector(Sequential, 8, score=shifted, start=After(3), seed=0)",
        ),
        (
            lambda: isf.Selector(MODEL, 8, class_weight=torch.ones(3), correction=0.5),
            "Selector(Sequential, 8, correction=0.5, class_weight=<3 torch.float32>)",
        ),
        (
            lambda: isf.Accumulator(MODEL, 8, isf.AccuracyFilter(0.1), patience=3),
            "Accumulator(Sequential, 8, AccuracyFilter(alpha=0.1), patience=3)",
        ),
        (lambda: isf.PickCounts(100), "PickCounts(100)"),
        (lambda: isf.Bandit(100, rate=0.5), "Bandit(100, rate=0.5)"),
    ],
)
def test_repr(make: Callable[[], object], expected: str) -> None:
    assert repr(make()) == expected


@pytest.mark.parametrize("name", strategies.names())
def test_every_strategy_has_one(name: str) -> None:
    strategy = strategies.get(name)
    if strategy.level == "batch":
        made = strategy(MODEL, 8, seed=1, **REQUIRED.get(name, {}))
    else:
        made = strategy(100, epochs=5, classes=3, seed=1)
    assert repr(made).startswith(type(made).__name__ + "(")
    assert "seed=1" in repr(made)
