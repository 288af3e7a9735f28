"""Targets of several tensors, as a score function takes them."""

from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast import (
    AccuracyFilter,
    Columns,
    Diversity,
    EvolvedScore,
    GraphStep,
    LossRatio,
    Selector,
    VarianceReduction,
    row_stats,
    strategies,
)
from tests.toy import C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")


class Pair(NamedTuple):
    label: Tensor
    box: Tensor


def as_dict(label: Tensor, box: Tensor) -> Any:
    return {"label": label, "more": [box]}


def as_list(label: Tensor, box: Tensor) -> Any:
    return [label, box]


def parts(y: Any) -> tuple[Tensor, Tensor]:
    return (y["label"], y["more"][0]) if isinstance(y, dict) else tuple(y)


def losses(logits: Tensor, y: Any) -> Tensor:
    label, box = parts(y)
    return row_stats(logits, label).loss + (logits - box).square().sum(1)


@pytest.fixture
def boxes() -> Tensor:
    return torch.randn(K, C, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("make", [as_dict, as_list, Pair])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "race", "on_fault": "skip"},
        {"batches_per_pool": 2},
        {"start": VarianceReduction(1e9)},
        {"start": LossRatio(1e-9)},
    ],
    ids=["plain", "skip", "pool", "tau", "loss"],
)
def test_a_score_function_takes_them(model, data, boxes, make, options):
    x, label = data

    def flat(logits: Tensor, y: Tensor) -> Tensor:
        return losses(logits, (y[:, 0].long(), y[:, 1:]))

    seen = []
    nested = Selector(model, N, score=losses, seed=1, observe=seen.append, **options)
    plain = Selector(model, N, score=flat, seed=1, **options)
    given = make(label, boxes)
    for _ in range(3):
        batches = list(nested.batches([(x, given)]))
        expected = list(plain.batches([(x, torch.cat([label[:, None], boxes], 1))]))
        for batch, one in zip(batches, expected, strict=True):
            assert torch.equal(batch.index, one.index)
            assert torch.equal(batch.weight, one.weight)
            assert type(batch.y) is type(given)
            assert torch.equal(parts(batch.y)[0], label[batch.index])
            assert torch.equal(parts(batch.y)[1], boxes[batch.index])
            micro = batch.split(5)[1]
            assert torch.equal(parts(micro.y)[1], boxes[micro.index])
            for each in (batch, one):
                each.mean(losses(model(each.x), make(label[each.index], boxes[each.index])))
    assert type(seen[0].y) is type(given)
    assert nested.scores(x, given).shape == (K,)
    assert "classes" not in nested.metrics()


def test_several_keys_are_a_dict(boxes, data):
    x, label = data
    model = nn.Linear(5, C)
    columns = Columns(("label", "box"), inputs="x")
    selector = Selector(
        model, N, score=lambda logits, y: losses(logits, (y["label"], y["box"])), target=columns
    )
    batch = selector({"box": boxes, "x": x, "label": label})
    assert list(batch.y) == ["label", "box"]
    assert torch.equal(batch.y["box"], boxes[batch.index])
    assert torch.equal(batch.x, x[batch.index])
    assert list(batch.inputs) == ["box", "x", "label"]


@pytest.mark.parametrize("waits", ["pool", "queue"])
def test_what_waits_is_saved_with_them(model, data, boxes, tmp_path, waits):
    def make() -> Any:
        if waits == "pool":
            return Selector(model, N, score=losses, batches_per_pool=2, seed=1)
        return strategies.make("uniform", model, N)

    one, other = make(), make()
    given = as_dict(data[1], boxes)
    one(data[0], given)
    torch.save(one.state_dict(), tmp_path / "state")
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    batch, expected = other.pop(), one.pop()
    assert torch.equal(batch.index, expected.index)
    assert torch.equal(batch.y["more"][0], boxes[batch.index])


def test_a_graph_step_takes_them(recorder, model, data, boxes):
    selector = Selector(model, N, score=losses, seed=1)
    step = GraphStep(selector, torch.optim.SGD(model.parameters(), lr=0.01), loss=losses)
    recorder(step)
    found = [float(step(data[0], as_dict(data[1], boxes))) for _ in range(4)]
    assert torch.tensor(found).isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"score": losses, "filter": AccuracyFilter()},
        {"score": EvolvedScore(size=K)},
        {"score": losses, "method": Diversity(), "correction": "none"},
    ],
    ids=["by name", "filter", "learned", "diversity"],
)
def test_what_goes_by_the_class_refuses_them(model, data, boxes, options):
    with pytest.raises(TypeError, match="y has several tensors, which only a score function"):
        Selector(model, N, **options)(data[0], as_list(data[1], boxes), torch.arange(K))
    with pytest.raises(TypeError, match="y has several tensors, which only a score function"):
        strategies.make("hard-accuracy", model, N)(data[0], as_list(data[1], boxes))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ({"a": torch.zeros(K), "b": torch.zeros(3)}, ValueError, r"y\['b'\] has shape \[3\]"),
        ([torch.zeros(K), "text"], TypeError, r"y\[1\] is str, expected a tensor"),
        ([torch.tensor(3.0)], ValueError, "y is a scalar"),
        ({}, TypeError, "y is dict, expected a tensor"),
        ([1, 2], TypeError, "y is list, expected a tensor"),
    ],
)
def test_what_is_wrong_with_them_is_named(model, data, y, error, message):
    with pytest.raises(error, match=message):
        Selector(model, N, score=losses)(data[0], y)


def test_plain_targets_are_taken_as_ever(model, data):
    def score(logits: Tensor, y: Tensor) -> Tensor:
        assert isinstance(y, Tensor)
        return F.cross_entropy(logits, y, reduction="none")

    assert isinstance(Selector(model, N, score=score)(*data).y, Tensor)
