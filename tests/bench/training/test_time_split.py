"""Where the time of a step goes, by clocks that only some of its parts move."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from bench.training import time_split
from bench.training.run import Training
from bench.training.strategies import known
from impsamp_fast import strategies
from tests.bench.tiny_bench import QUICK_TASK, TINY, tiny_data

ALL = strategies.names()


@pytest.mark.parametrize("name", [*ALL, "gradient-norm-cdf-loop"])
def test_selection_is_what_is_neither_training_nor_scoring(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By a clock that only the model moves: 1 s per row in a forward pass, and 1 s per step."""
    now = [0.0]
    monkeypatch.setattr("bench.training.time_split.time.perf_counter", lambda: now[0])
    training = Training(QUICK_TASK, tiny_data(Path()).first(100), known()[name], 0, "always")
    training.step()

    def forward(_: Any, x: tuple[torch.Tensor], __: Any) -> None:
        now[0] += len(x[0])

    def update(loss: torch.Tensor) -> None:
        now[0] += 1

    next(training.model.children()).register_forward_hook(forward)
    monkeypatch.setattr(training, "update", update)
    parts = time_split.measure(training)
    loop = TINY.large * 1e6 if name == "gradient-norm-cdf-loop" else 0.0
    assert parts["selection"] == loop
    assert parts["step"] == pytest.approx(parts["forward"] + parts["train"] + loop)
    if name not in {"top-q", "hard-accuracy", "soft-accuracy"}:
        assert parts["train"] == (TINY.mini + 1) * 1e6


@pytest.mark.parametrize("name", ["gradient-norm-cdf", "top-q", "selective-backprop"])
def test_no_span_holds_work_of_the_measurement(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By a clock that moves when the model is made ready to be watched, or is set back."""
    now = [0.0]
    monkeypatch.setattr("bench.training.time_split.time.perf_counter", lambda: now[0])

    def takes_a_second(own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            now[0] += 1
            return own(*args, **kwargs)

        return call

    training = Training(QUICK_TASK, tiny_data(Path()).first(100), known()[name], 0, "always")
    for owner, method in (
        (nn.Module, "register_forward_pre_hook"),
        (nn.Module, "register_forward_hook"),
        (RemovableHandle, "remove"),
        (time_split.ForwardClock, "__enter__"),
        (time_split.ForwardClock, "__exit__"),
    ):
        monkeypatch.setattr(owner, method, takes_a_second(getattr(owner, method)))
    parts = time_split.measure(training)
    assert now[0] > 0
    assert not any(parts.values()), parts
    assert "forward" not in vars(training.model)
