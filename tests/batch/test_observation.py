"""Selector(observe=...) and metrics(): what a step came to, for those who watch."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from impsamp_fast import (
    AccuracyFilter,
    After,
    Columns,
    GraphStep,
    LossSplit,
    Observation,
    Selector,
    VarianceReduction,
    row_stats,
    score,
    strategies,
)
from impsamp_fast._readback import Readback
from tests.elsewhere import Elsewhere, accelerator, elsewhere
from tests.toy import C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def seen() -> list[Observation]:
    return []


def only(seen: list[Observation]) -> Observation:
    assert len(seen) == 1
    return seen[0]


@pytest.mark.parametrize(
    ("options", "has_loss"),
    [
        ({}, True),
        ({"method": "race"}, True),
        ({"method": LossSplit()}, False),
        ({"on_fault": "skip"}, False),
        ({"score": lambda logits, y: row_stats(logits, y).grad_norm}, False),
    ],
    ids=["select", "race", "rule", "skip", "function"],
)
def test_a_step_by_importance_is_told(model, data, seen, options, has_loss):
    x, y = data
    selector = Selector(model, N, observe=seen.append, smoothing=0.25, seed=1, **options)
    selector(x, y)
    seen.clear()
    batch = selector(x, y)
    told = only(seen)
    with torch.no_grad():
        logits = model(x)
    torch.testing.assert_close(told.score, score(logits, y, "grad_norm"))
    assert (told.loss is not None) == has_loss
    if has_loss:
        torch.testing.assert_close(told.loss, score(logits, y, "loss"))
    assert (told.step, told.importance, told.K, told.uniform_share) == (1, True, K, 0.25)
    assert torch.equal(told.row, batch.index)
    assert torch.equal(told.weight, batch.weight)
    assert torch.equal(told.y, batch.y)
    assert told.tau > 1
    weight = batch.weight.double()
    expected = weight.sum() ** 2 / weight.square().sum()
    assert float(told.effective_size) == pytest.approx(float(expected), rel=1e-5)
    assert not any(
        part.requires_grad for part in (told.score, told.tau, told.weight) if part is not None
    )


def test_a_uniform_step_is_told(model, data, seen):
    Selector(model, N, observe=seen.append, start=After(1), smoothing=0.25)(*data)
    told = only(seen)
    assert (told.importance, told.uniform_share) == (False, 1.0)
    assert told.score is told.tau is told.loss is None
    assert told.effective_size == N


def test_a_rule_that_learns_from_tau_shows_its_scores(model, data, seen):
    rule = VarianceReduction(1e9)
    batch = Selector(model, N, observe=seen.append, start=rule)(*data)
    told = only(seen)
    assert not told.importance
    with torch.no_grad():
        torch.testing.assert_close(told.score, score(model(batch.x), batch.y, "grad_norm"))


def test_a_pool_is_told_once(model, data, seen):
    selector = Selector(model, N, observe=seen.append, batches_per_pool=3, seed=1)
    assert len(list(selector.batches([data]))) == 3
    assert only(seen).weight.shape == (3 * N,)
    assert only(seen).row.shape == only(seen).y.shape == (3 * N,)


def test_a_filter_shows_what_passed(model, data, seen):
    Selector(model, N, observe=seen.append, filter=AccuracyFilter())(*data)
    assert N <= only(seen).score.numel() < K
    assert only(seen).row.max() < K


def test_the_time_is_that_of_a_step_before(model, data, seen):
    selector = Selector(model, N, observe=seen.append)
    for _ in range(3):
        selector(*data)
    assert seen[0].time is None
    time = seen[2].time
    assert time.importance and time.scored == K
    assert time.whole >= time.scoring > 0


def test_an_observer_that_raises_leaves_the_step_to_be_done_again(model, data):
    def observe(told: Observation) -> None:
        raise ZeroDivisionError

    selector = Selector(model, N, observe=observe, seed=1)
    before = selector.state_dict()
    with pytest.raises(ZeroDivisionError):
        selector(*data)
    assert selector.state_dict() == before


def test_observers_change_no_row_and_are_no_part_of_the_state(model, data, seen):
    plain, watched = (Selector(model, N, observe=o, seed=1) for o in (None, seen.append))
    for _ in range(3):
        assert torch.equal(plain(*data).index, watched(*data).index)
        watched.metrics()
    assert plain.state_dict() == watched.state_dict()


def test_an_accelerator_is_not_waited_for(data, seen):
    Elsewhere.waits = Elsewhere.copies = 0
    selector = Selector(nn.Linear(5, C), N, observe=seen.append, start=After(1))
    columns = Selector(nn.Identity(), N, observe=seen.append, target=Columns("y", inputs="x"))
    with accelerator():
        for _ in range(3):
            x, y = map(elsewhere, data)
            selector(x, y).split(5)
            assert list(columns({"x": x[:, :C], "y": y}).inputs) == ["x", "y"]
        effective = seen[-1].effective_size
    assert Elsewhere.waits + Elsewhere.copies == 0
    assert isinstance(effective, Elsewhere)
    assert selector.metrics()["step"] == 2


def test_a_graph_step_tells_of_its_steps(recorder, model, data, seen):
    selector = Selector(model, N, observe=seen.append, seed=1)
    step = GraphStep(selector, torch.optim.SGD(model.parameters(), lr=0.0))
    recorder(step)
    for _ in range(4):
        step(*data)
    assert [told.step for told in seen] == [0, 1, 2, 3]
    assert all(told.importance and told.K == K for told in seen)
    assert selector.metrics()["step"] == 3
    torch.testing.assert_close(seen[-1].score, selector.scores(*data))


class TestMetrics:
    def test_are_those_of_the_last_step(self, model, data):
        x, y = data
        selector = Selector(model, N, smoothing=0.25, seed=1)
        assert selector.metrics() == {}
        for _ in range(3):
            batch = selector(x, y)
        numbers = selector.metrics()
        scores = selector.scores(x, y).double().sort().values
        assert all(type(value) is float for value in numbers.values())
        expected = {
            "step": 2.0,
            "importance": 1.0,
            "importance_share": 1.0,
            "uniform_share": 0.25,
            "effective_size": float(batch.weight.sum() ** 2 / batch.weight.square().sum()),
            "weight/max": float(batch.weight.max()),
            "distinct": batch.index.unique().numel() / N,
            "score/mean": float(scores.mean()),
            "score/q05": float(scores[3]),
            "score/q50": float(scores[32]),
            "score/q95": float(scores[60]),
            "score/max": float(scores[-1]),
        }
        assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-5)
        with torch.no_grad():
            mean = float(nn.functional.cross_entropy(model(x), y))
        assert numbers["loss/mean"] == pytest.approx(mean, rel=1e-5)
        shares = torch.bincount(batch.y, minlength=C) / N
        for c, share in enumerate(shares.tolist()):
            assert numbers[f"class/{c}"] == pytest.approx(share)
        entropy = -sum(share * math.log(share) for share in shares.tolist() if share)
        assert numbers["classes"] == pytest.approx(math.exp(entropy), rel=1e-5)
        assert numbers["seconds/whole"] >= numbers["seconds/scoring"] > 0

    def test_of_a_uniform_step_have_no_scores(self, model, data):
        selector = Selector(model, N, start=After(3))
        selector(*data)
        numbers = selector.metrics()
        assert (numbers["importance"], numbers["effective_size"], numbers["distinct"]) == (0, N, 1)
        assert "tau" not in numbers and "score/mean" not in numbers

    def test_share_by_importance_is_that_of_the_last_steps(self, model, data):
        selector = Selector(model, N, start=After(2))
        for _ in range(9):
            selector(*data)
        assert selector.metrics()["importance_share"] == 6 / 8  # the last one has not ended

    @pytest.mark.parametrize(
        ("y", "expected"),
        [
            (torch.eye(C)[torch.arange(K) % 2] * 2, {"class/0", "class/1", "class/2", "classes"}),
            (torch.arange(K) + 40, {"classes"}),
            (torch.rand(K), set()),
            (torch.full((K,), -100), set()),
            (torch.arange(K) + 10**15, set()),
        ],
        ids=["soft", "many", "regression", "ignored", "times"],
    )
    def test_tell_the_classes_of_any_target(self, model, data, y, expected):
        selector = Selector(model, N, start=After(5), score=lambda logits, y: logits[:, 0].exp())
        selector(data[0], y)
        found = {name for name in selector.metrics() if name.startswith("class")}
        assert found == expected

    def test_are_late_where_the_device_is(self, model, data, monkeypatch):
        arrived: list[Readback] = []
        monkeypatch.setattr(Readback, "has_arrived", property(lambda self: self in arrived))
        waited = []
        get = Readback.get
        monkeypatch.setattr(Readback, "get", lambda self: (waited.append(self), get(self))[1])
        selector = Selector(model, N)
        for _ in range(8):
            selector(*data)
            assert "step" not in selector.metrics()
        coming = selector._log._metrics._coming
        assert [reading.step for reading in coming] == [0, 1, 2, 3]  # no more are begun
        assert not waited
        arrived += [part for reading in list(coming)[:2] for part in reading._coming.values()]
        assert selector.metrics()["step"] == 1
        assert set(waited) <= set(arrived)
        assert selector.metrics(wait=True)["step"] == 7

    def test_of_a_copy_begin_anew(self, model, data):
        selector = Selector(model, N)
        selector(*data)
        selector.metrics()
        assert copy.deepcopy(selector).metrics()["step"] == 0

    @pytest.mark.parametrize("name", strategies.names("batch"))
    def test_every_strategy_has_some(self, model, data, name):
        required: dict[str, Any] = {"rho-loss": {"irreducible": torch.zeros(K)}}.get(name, {})
        strategy = strategies.make(name, model, N, **required)
        for _ in range(4):
            list(strategy.batches([(*data, torch.arange(K))]))
        numbers = strategy.metrics()
        assert numbers["step"] >= 3
        assert all(math.isfinite(value) for value in numbers.values())
        if name == "hard-accuracy":
            assert 0 < numbers["selected_share"] < 1
        if name == "constant-time":
            assert (numbers["n"], numbers["raw_size"]) == (N, N)


def test_a_wrong_observer_is_named(model):
    with pytest.raises(TypeError, match="observe is 3, expected a function or None"):
        Selector(model, N, observe=3)
