"""GraphStep without a GPU: its steps run eagerly, or by a recorder that stands in for CUDA's."""

import copy
import gc
import math
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impsamp_fast import (
    AccuracyFilter,
    After,
    GraphStep,
    LossRatio,
    PickCounts,
    Selector,
    TopQuantile,
    VarianceReduction,
)
from impsamp_fast.batch import _graphs
from tests.batch.graph_training import batches, train_by_hand, trainer
from tests.toy import C, K, N


@pytest.mark.parametrize(
    "start", [None, lambda: After(6), lambda: LossRatio(0.99), lambda: VarianceReduction(1.05)]
)
@pytest.mark.parametrize("records", [False, True])
def test_trains_as_the_loop_by_hand(model, recorder, start, records):
    by_hand, data = copy.deepcopy(model), batches(20)
    options = [{} if start is None else {"start": start()} for _ in range(2)]
    step = trainer(model, **options[0])
    stand_in = recorder(step) if records else None
    losses = [step(x, y).item() for x, y in data]
    assert losses == train_by_hand(by_hand, data, **options[1])
    for found, expected in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(found, expected)
    if stand_in is not None:
        assert stand_in.recorded >= 1


def test_records_each_kind_and_shape_once_it_is_warm(model, recorder):
    step = trainer(model, start=After(10), warmup=2)
    stand_in = recorder(step)
    recorded = []
    for x, y in batches(10):
        step(x, y)
        recorded.append(stand_in.recorded)
    assert recorded == [0, 0] + [1] * 8
    for x, y in batches(3):
        step(x, y)
    assert stand_in.recorded == 2
    for x, y in batches(3, rows=K + 1):
        step(x, y)
    assert stand_in.recorded == 3
    for rows in range(K + 2, K + 6):
        for x, y in batches(3, rows=rows):
            step(x, y)
    assert stand_in.recorded == 4  # no more are kept; others run eagerly


def test_a_new_learning_rate_is_recorded_anew_and_a_tensor_is_not(model, recorder):
    step = trainer(model, warmup=1)
    stand_in = recorder(step)
    data = batches(8)
    for x, y in data[:4]:
        step(x, y)
    step.optimizer.param_groups[0]["lr"] = 0.2
    for x, y in data[4:]:
        step(x, y)
    assert stand_in.recorded == 2

    step = trainer(model, warmup=1, lr=torch.tensor(0.1))
    stand_in = recorder(step)
    for x, y in data:
        step(x, y)
        step.optimizer.param_groups[0]["lr"].mul_(0.5)
    assert stand_in.recorded == 1


def test_a_learning_rate_that_changes_in_every_step_is_warned_of_once(model, recorder):
    step = trainer(model, warmup=1)
    stand_in = recorder(step)
    data = batches(12)
    with pytest.warns(UserWarning, match="the optimiser's lr changes every few steps.*tensor") as w:
        for x, y in data:
            step(x, y)
            step.optimizer.param_groups[0]["lr"] *= 0.9
    assert len(w) == 1
    assert w[0].filename == __file__
    assert stand_in.recorded == 11


def test_a_learning_rate_that_changes_now_and_then_is_not_warned_of(model, recorder):
    step = trainer(model, warmup=1)
    recorder(step)
    data = batches(20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            for x, y in data:
                step(x, y)
            step.optimizer.param_groups[0]["lr"] *= 0.9


def test_the_optimizer_keeps_no_hook_of_a_step_that_is_gone(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hooks = optimizer._optimizer_load_state_dict_post_hooks
    step = GraphStep(Selector(model, N), optimizer)
    other = GraphStep(Selector(model, N), optimizer)
    assert len(hooks) == 2
    step(*batches(1)[0])
    del step
    gc.collect()
    assert len(hooks) == 1
    del other
    gc.collect()
    assert not hooks


@pytest.mark.parametrize("records", [False, True])
def test_gradients_are_clipped_before_the_step(model, recorder, records):
    by_hand, data = copy.deepcopy(model), batches(10)
    largest = 0.05
    selector = Selector(model, N, seed=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    clip = partial(nn.utils.clip_grad_norm_, list(model.parameters()), largest)
    step = GraphStep(selector, optimizer, before_step=clip, warmup=2)
    if records:
        recorder(step)
    selector = Selector(by_hand, N, seed=7)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    clipped = 0
    for x, y in data:
        step(x, y)
        batch = selector(x, y)
        losses = F.cross_entropy(by_hand(batch.x), batch.y, reduction="none")
        optimizer.zero_grad()
        batch.mean(losses).backward()
        clipped += nn.utils.clip_grad_norm_(by_hand.parameters(), largest) > largest
        optimizer.step()
    assert clipped > 0
    for found, expected in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("records", [False, True])
def test_a_score_function_gets_the_samples_numbers(model, recorder, records):
    table = torch.rand(1000, generator=torch.Generator().manual_seed(1))

    def score(logits, y, index):
        return table[index]

    by_hand, data = copy.deepcopy(model), batches(8)
    numbers = [torch.randperm(1000)[:K] for _ in data]
    step = trainer(model, score=score, warmup=2)
    if records:
        recorder(step)
    losses = [step(x, y, index).item() for (x, y), index in zip(data, numbers, strict=True)]
    selector = Selector(by_hand, N, seed=7, score=score)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    for (x, y), index, found in zip(data, numbers, losses, strict=True):
        batch = selector(x, y, index)
        loss = batch.mean(F.cross_entropy(by_hand(batch.x), batch.y, reduction="none"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert found == loss.item()


@pytest.mark.parametrize("records", [False, True])
def test_small_batches_are_left_out_or_trained_on_whole(model, recorder, records):
    small = batches(1, rows=N - 3)[0]
    step = trainer(model, small_batch="skip", warmup=1)
    if records:
        recorder(step)
    before = [parameter.clone() for parameter in model.parameters()]
    assert step(*small) is None
    assert step.state_dict()["step"] == 0
    for found, expected in zip(model.parameters(), before, strict=True):
        assert torch.equal(found, expected)
    step = trainer(model, small_batch="all", warmup=1)
    if records:
        recorder(step)
    for _ in range(3):
        x, y = small
        expected = F.cross_entropy(model(x), y)
        torch.testing.assert_close(step(x, y), expected.detach())
    assert step.state_dict()["step"] == 3


def test_no_index_is_ignored_in_its_loss(model):
    x, y = batches(1)[0]
    expected = trainer(copy.deepcopy(model))(x, y)
    assert torch.equal(trainer(model, ignore_index=None)(x, y), expected)


def test_counts_the_samples_that_were_picked(model, recorder):
    counts, expected = PickCounts(K), PickCounts(K)
    by_hand, data = copy.deepcopy(model), batches(8)
    step = trainer(model, counts=counts)
    recorder(step)
    index = torch.randperm(K)
    for x, y in data:
        step(x[index], y[index], index)
    train_by_hand(by_hand, [(x[index], y[index]) for x, y in data], counts=expected)
    assert torch.equal(counts.counts[index], expected.counts)


def test_a_state_loaded_into_the_optimizer_is_recorded_anew(model, recorder):
    step = trainer(model, warmup=1)
    stand_in = recorder(step)
    for x, y in batches(3):
        step(x, y)
    assert stand_in.recorded == 1
    step.optimizer.load_state_dict(step.optimizer.state_dict())
    for x, y in batches(3):
        step(x, y)
    assert stand_in.recorded == 2


def test_a_recording_that_fails_leaves_no_gradients(model, recorder, monkeypatch):
    step = trainer(model, warmup=1)
    stand_in = recorder(step)
    x, y = batches(1)[0]
    step(x, y)

    def fail(record):
        record()
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(stand_in, "record", fail)
    with pytest.raises(RuntimeError, match="capturing"):
        step(x, y)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert step.state_dict()["step"] == 1


def test_takes_the_structures_that_a_selector_takes(recorder):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, C)

        def forward(self, a, b):
            return self.linear(a + b)

    model = Sum()
    by_hand = copy.deepcopy(model)
    step = trainer(model)
    recorder(step)
    for x, y in batches(6):
        found = step({"a": x, "b": 2 * x}, y)
        assert math.isfinite(found)
    losses = train_by_hand(by_hand, [({"a": x, "b": 2 * x}, y) for x, y in batches(6)])
    assert found.item() == losses[-1]


def test_takes_a_loss_of_the_users(model):
    def loss(logits, y):
        return 2 * F.cross_entropy(logits, y, reduction="none", label_smoothing=0.1)

    other, (x, y) = copy.deepcopy(model), batches(1)[0]
    found = trainer(model, loss=loss, label_smoothing=0.1)(x, y)
    assert torch.allclose(found, 2 * trainer(other, label_smoothing=0.1)(x, y))


def test_continues_from_a_saved_state(model, recorder):
    data = batches(12)
    step = trainer(model)
    recorder(step)
    for x, y in data[:6]:
        step(x, y)
    saved = [copy.deepcopy(part.state_dict()) for part in (model, step.optimizer, step)]
    expected = [step(x, y).item() for x, y in data[6:]]
    resumed = trainer(model)
    recorder(resumed)
    for part, state in zip((model, resumed.optimizer, resumed), saved, strict=True):
        part.load_state_dict(state)
    assert [resumed(x, y).item() for x, y in data[6:]] == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"selector": "model"}, TypeError, "selector is str, expected a Selector"),
        ({"optimizer": 0.1}, TypeError, "optimizer is float, expected an Optimizer"),
        ({"loss": 1}, TypeError, "loss is 1, expected a function"),
        ({"before_step": 1}, TypeError, "before_step is 1, expected a function or None"),
        ({"warmup": 1.5}, TypeError, "warmup is 1.5, expected an integer"),
        ({"warmup": 0}, ValueError, "warmup is 0, expected at least 1"),
    ],
)
def test_rejects_wrong_arguments(model, arguments, error, message):
    good = {"selector": Selector(model, N), "optimizer": torch.optim.SGD(model.parameters(), 0.1)}
    with pytest.raises(error, match=message):
        GraphStep(**(good | arguments))


def test_rejects_what_a_graph_cannot_do(model, recorder):
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="dropout=True, but a graph cannot set the random state"):
        GraphStep(Selector(model, N, dropout=True), sgd)
    with pytest.raises(ValueError, match="has a filter, but a graph cannot wait"):
        GraphStep(Selector(model, N, filter=AccuracyFilter()), sgd)
    with pytest.raises(ValueError, match="has method TopQuantile, but a graph cannot wait"):
        GraphStep(Selector(model, N, method=TopQuantile(0.5)), sgd)
    step = GraphStep(Selector(model, N), torch.optim.Adagrad(model.parameters()), warmup=1)
    recorder(step)
    step(*batches(1)[0])
    step.optimizer.state[model[0].weight]["step"] = 1
    with pytest.raises(ValueError, match="optimizer keeps 'step' on the host"):
        step(*batches(1)[0])
    step = GraphStep(Selector(model, N), torch.optim.Adam(model.parameters()))
    recorder(step)
    with pytest.raises(ValueError, match="capturable=False in group 0"):
        step(*batches(1)[0])


def test_rejects_a_mean_loss(model):
    step = trainer(model, loss=F.cross_entropy)
    x, y = batches(1)[0]
    with pytest.raises(ValueError, match=rf'loss returned shape \[\], expected \[{N}\].*"none"'):
        step(x, y)
    assert step.state_dict()["step"] == 0


def test_says_when_a_captured_selection_has_failed():
    scalars = _graphs.Scalars(torch.device("cpu"))
    for call in range(1, 49):
        scalars.advance(torch.tensor(3 if call == 5 else 0))
        if call == 32:
            with pytest.raises(ValueError, match="in one of the last 32 steps nothing could be"):
                scalars.look()
        else:
            scalars.look()
