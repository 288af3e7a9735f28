"""One training run: the loss that it trains on, and when it is evaluated."""

import itertools
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.utils import counters

import impsamp_fast
from bench.tasks.task import Budget
from bench.training.pickers import SamplerPicker
from bench.training.run import Training
from bench.training.strategies import STRATEGIES, find, known
from impsamp_fast import ScoringPass, Selector
from tests.bench.tiny_bench import QUICK_TASK, TINY, tiny_data


def test_the_unbiased_strategy_trains_on_the_weighted_mean() -> None:
    data = tiny_data(Path())
    strategy = STRATEGIES["gradient-norm-cdf-unbiased"]
    training = Training(TINY, data, strategy, seed=0, start="always")
    state = training.stream.state_dict()
    x, y, _ = training.stream.next(TINY.large)
    logits = training.model(x).detach()
    training.stream.load_state_dict(state)
    loss = training.picker.loss(training.stream).item()
    # With one more draw of the same seed: the selector's first step draws with the seed itself.
    index, weight, *_ = impsamp_fast.select(logits, y, TINY.mini, seed=0)
    each = F.cross_entropy(logits[index], y[index], reduction="none")
    assert loss == pytest.approx((weight * each).mean().item(), rel=1e-5)


def test_samplers_train_on_the_weighted_mean_of_what_they_drew() -> None:
    data = tiny_data(Path()).first(64)
    training = Training(QUICK_TASK, data, known()["bandit"], seed=0, start="always", epochs=9)
    picker = training.picker
    assert isinstance(picker, SamplerPicker)
    for _ in range(10):  # two epochs and a half
        training.step()
    weights = []
    for _ in range(4):
        loss = picker.loss(training.stream)
        x, y = picker.picked
        (row,) = (training.data.x[:, None] == x[None]).all(2).T.nonzero()[:, 1:].T
        weight = picker.sampler.weight(row)
        losses = F.cross_entropy(training.model(x), y, reduction="none")
        assert loss.item() == pytest.approx((weight * losses).mean().item(), rel=1e-5)
        weights.append(weight)
        training.update(loss)
    assert torch.cat(weights).unique().numel() > 1
    assert picker.importance_steps == 14


def test_a_time_budget_is_evaluated_at_common_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 0.03)  # read once more per step
    monkeypatch.setattr("bench.training.run.time.perf_counter", lambda: next(clock))
    data = tiny_data(Path())
    training = Training(QUICK_TASK, data, STRATEGIES["uniform"], seed=0, start="always")
    budget = Budget(seconds=8.0)
    while budget.share(training.steps, training.seconds) < 1:
        training.advance(budget)
    seconds = training.curve["seconds"]
    assert len(seconds) == QUICK_TASK.evaluations
    interval = 8.0 / QUICK_TASK.evaluations
    for i, moment in enumerate(seconds, start=1):
        assert i * interval - 1e-6 <= moment < i * interval + 0.03 + 1e-6


def test_what_steps_should_be_worth_is_recorded_beside_what_they_lead_to() -> None:
    def taus(name: str) -> list[float | None] | None:
        training = Training(QUICK_TASK, tiny_data(Path()), known()[name], 0, start="after:4")
        for _ in range(3):
            training.advance(Budget(steps=3 * QUICK_TASK.evaluate_every))
        return training.curve.get("tau")

    unbiased = taus("gradient-norm-cdf-unbiased")
    assert unbiased is not None
    assert len(unbiased) == 3
    assert [tau is None or tau >= 1 for tau in unbiased] == [True] * 3
    assert unbiased[-1] is not None
    assert taus("gradient-norm-cdf") is None  # has no weights
    assert taus("uniform") is None


@pytest.mark.parametrize("budget", [Budget(steps=24), Budget(seconds=2.4)], ids=["steps", "time"])
def test_a_decayed_rate_is_half_a_cosine_of_the_budget(
    monkeypatch: pytest.MonkeyPatch, budget: Budget
) -> None:
    clock = itertools.count(0.0, 0.1)  # read once more per step
    monkeypatch.setattr("bench.training.run.time.perf_counter", lambda: next(clock))
    strategy = known()["uniform-decayed"]
    training = Training(QUICK_TASK, tiny_data(Path()), strategy, 0, "always", learning_rate=0.25)
    rates = []
    training.optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    while budget.share(training.steps, training.seconds) < 1:
        training.advance(budget)
    assert len(rates) >= 24
    assert rates[:24] == pytest.approx([0.25 * math.cos(math.pi * i / 48) ** 2 for i in range(24)])
    training.step(1.5)  # a strategy may have taken all of the time to prepare
    assert rates[-1] == 0


@pytest.mark.parametrize(
    "name", ["uniform", "gradient-norm-cdf-fast", "break-even", "uniform-compiled-decayed"]
)
def test_what_is_compiled_is_so_before_the_run(name: str) -> None:
    """The steps that warm it up are taken back: a run goes on as if there had been none."""
    (strategy,) = find([name])
    task = replace(QUICK_TASK, fast_scoring=ScoringPass(chunk=16))

    def run(warm: bool) -> Training:
        training = Training(task, tiny_data(Path()), strategy, seed=0, start="after:2")
        if warm:
            training.warm_up()
        if name == "break-even":  # which steps score is up to the clock
            return training
        training.train_steps(12)
        return training

    plain, warmed = run(False), run(True)
    assert warmed.steps == plain.steps
    assert str(warmed.model.state_dict()) == str(plain.model.state_dict())
    assert str(warmed.optimizer.state_dict()) == str(plain.optimizer.state_dict())
    assert str(warmed.picker.state_dict()) == str(plain.picker.state_dict())


def test_a_compiled_strategy_trains_as_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def compile(model: torch.nn.Module) -> torch.nn.Module:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compile)
    ends = []
    for strategy in find(["kf18", "kf18-compiled"]):
        training = Training(QUICK_TASK, tiny_data(Path()), strategy, seed=0, start="always")
        training.train_steps(8)
        ends.append(torch.cat([p.flatten() for p in training.model.parameters()]))
        assert training.compiled == bool(compiled)
        assert training.optimizer.param_groups[0]["fused"] == (True if compiled else None)
    assert compiled == [training.model]
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("name", ["hard-accuracy-compiled", "top-q-compiled"])
def test_batches_of_other_sizes_are_compiled_for_before_the_run(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    (strategy,) = find([name])
    task = replace(QUICK_TASK, large=1024, mini=128)
    training = Training(task, tiny_data(Path()).first(2000), strategy, seed=0, start="after:8")
    training.warm_up()
    before = counters["stats"]["unique_graphs"]
    while training.steps < 60:
        training.train_steps(60)
    assert counters["stats"]["unique_graphs"] == before > 0
    torch._dynamo.reset()


def test_a_strategy_may_have_a_learning_rate_of_its_own() -> None:
    data = tiny_data(Path())
    uniform = STRATEGIES["uniform"]
    training = Training(QUICK_TASK, data, uniform, seed=0, start="always", learning_rate=0.25)
    assert training.optimizer.param_groups[0]["lr"] == 0.25


def test_an_evaluation_is_no_part_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Selector, "pause", lambda _: told.append("pause"))
    monkeypatch.setattr(Training, "evaluate", lambda _: told.append("evaluate"))
    data = tiny_data(Path())
    training = Training(QUICK_TASK, data, STRATEGIES["gradient-norm-cdf"], seed=0, start="always")
    training.advance(Budget(steps=4))
    assert told == ["pause", "evaluate"]
