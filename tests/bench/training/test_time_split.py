"""Where the time of a step goes, by clocks that only some of its parts move."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from bench.report.results import ROW_LOOP
from bench.training import time_split
from bench.training.run import Training
from bench.training.strategies import find, known
from bench.training.stream import Stream
from impsamp_fast import MentorNet, SecondModel, strategies
from impsamp_fast.batch.autoassist import Assistant
from tests.bench.tiny_bench import QUICK_TASK, TINY, tiny_data

ALL = strategies.names()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the clock shows, which pass only where a test says so."""
    seconds = [0.0]
    monkeypatch.setattr("bench.training.time_split.time.perf_counter", lambda: seconds[0])
    return seconds


@pytest.mark.parametrize("name", [*ALL, ROW_LOOP])
def test_selection_is_what_is_neither_training_nor_scoring(
    monkeypatch: pytest.MonkeyPatch, now: list[float], name: str
) -> None:
    """By a clock that only the model moves: 1 s per row in a forward pass, and 1 s per step."""
    training = Training(QUICK_TASK, tiny_data(Path()).first(200), known()[name], 0, "always")
    training.step()

    def forward(_: Any, x: tuple[torch.Tensor], __: Any) -> None:
        now[0] += len(x[0])

    def update(loss: torch.Tensor) -> None:
        now[0] += 1

    next(training.model.children()).register_forward_hook(forward)
    monkeypatch.setattr(training, "update", update)
    parts = time_split.measure(training)
    loop = TINY.large * 1e6 if name == ROW_LOOP else 0.0
    assert parts["selection"] == loop
    assert parts["step"] == pytest.approx(parts["forward"] + parts["train"] + loop)
    if name not in {"top-q", "hard-accuracy", "soft-accuracy"}:
        assert parts["train"] == (TINY.mini + 1) * 1e6


@pytest.mark.parametrize("name", ["gradient-norm-cdf", "top-q", "selective-backprop"])
def test_no_span_holds_work_of_the_measurement(
    monkeypatch: pytest.MonkeyPatch, now: list[float], name: str
) -> None:
    """By a clock that moves when the model is made ready to be watched, or is set back."""

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
        (time_split.CallClock, "__enter__"),
        (time_split.CallClock, "__exit__"),
    ):
        monkeypatch.setattr(owner, method, takes_a_second(getattr(owner, method)))
    parts = time_split.measure(training)
    assert now[0] > 0
    assert not any(parts.values()), parts
    assert "forward" not in vars(training.model)
    assert "next" not in vars(training.stream)


@pytest.mark.parametrize("name", [*strategies.names("batch"), ROW_LOOP])
def test_fetching_rows_is_training_as_for_uniform_sampling(
    monkeypatch: pytest.MonkeyPatch, now: list[float], name: str
) -> None:
    """By a clock that moves when rows are fetched, 1 s for a raw batch."""
    training = Training(QUICK_TASK, tiny_data(Path()).first(100), known()[name], 0, "always")
    fetch = Stream.next

    def slow(stream: Stream, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        now[0] += 1
        return fetch(stream, rows)

    monkeypatch.setattr(Stream, "next", slow)
    parts = time_split.measure(training)
    assert parts["selection"] == parts["select"] == parts["other"] == 0
    assert parts["train"] == parts["step"] > 0


@pytest.mark.parametrize("name", ["mentornet", "autoassist"])
def test_a_strategys_own_model_has_its_time(
    monkeypatch: pytest.MonkeyPatch, now: list[float], name: str
) -> None:
    """By a clock that moves by 1 s with each call of it, in selecting and in its training."""
    for model in (Assistant, MentorNet):

        def slow(self: Any, *rows: Any, own: Callable[..., Any] = model.forward) -> Any:
            now[0] += 1
            return own(self, *rows)

        monkeypatch.setattr(model, "forward", slow)
    training = Training(QUICK_TASK, tiny_data(Path()).first(100), known()[name], 0, "always")
    parts = time_split.measure(training)
    assert parts["second_model"] == parts["step"] >= 2e6
    assert parts["selection"] == parts["train"] == 0
    assert SecondModel.train.__qualname__ == "SecondModel.train"  # as it was


@pytest.mark.parametrize("name", ["uniform-compiled", "kf18-compiled", "bandit-compiled"])
def test_what_is_trained_compiled_is_timed_so(
    monkeypatch: pytest.MonkeyPatch, now: list[float], name: str
) -> None:
    """By a clock that only the compiled model moves, by 1 s a call."""

    class Compiled(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            now[0] += 1
            return self.model(x)

    monkeypatch.setattr(torch, "compile", Compiled)
    (strategy,) = find([name])
    training = Training(QUICK_TASK, tiny_data(Path()).first(100), strategy, 0, "always", epochs=9)
    assert time_split.measure(training)["train"] == 1e6


def test_turning_numbers_into_a_tensor_is_no_drawing(
    monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    """By a clock that moves with each tensor that is made of a list, 1 s each."""
    data = tiny_data(Path()).first(100)
    training = Training(QUICK_TASK, data, known()["bandit"], 0, "always", epochs=9)
    make = torch.tensor

    def slow(values: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        now[0] += isinstance(values, list)
        return make(values, *args, **kwargs)

    monkeypatch.setattr(torch, "tensor", slow)
    parts = time_split.measure(training)
    assert parts["gather"] == parts["step"] == 1e6  # once a step, where the rows are gathered
    assert parts["select"] == 0
