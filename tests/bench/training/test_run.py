"""One training run: the loss that it trains on, and when it is evaluated."""

import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import impsamp_fast
from bench.tasks.task import Budget
from bench.training.pickers import SamplerPicker
from bench.training.run import EVALUATIONS, Training
from bench.training.strategies import STRATEGIES, known
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
    while not budget.spent(training.steps, training.seconds):
        training.advance(budget)
    seconds = training.curve["seconds"]
    assert len(seconds) == EVALUATIONS
    for i, moment in enumerate(seconds, start=1):
        assert i * 0.5 <= moment < i * 0.5 + 0.03 + 1e-6
