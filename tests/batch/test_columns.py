"""Dict batches that have their target in them: what is the model's, and what comes back."""

from collections import UserDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast import (
    Columns,
    GraphStep,
    PickCounts,
    Queue,
    Selector,
    irreducible_losses,
    strategies,
)
from impsamp_fast.dataset import WithIndex
from tests.toy import C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")


class Output(UserDict[str, Tensor]):
    """What a model returns that may compute a loss."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]


class Classifier(nn.Module):
    """Takes its inputs by name, and computes a loss where it is given labels."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, C)
        self.losses = 0

    def forward(self, ids: Tensor, mask: Tensor, labels: Tensor | None = None) -> Output:
        output = Output(logits=self.linear(ids * mask))
        if labels is not None:
            self.losses += 1
            output["loss"] = F.cross_entropy(output.logits, labels)
        return output


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier()


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "ids": torch.randn(K, 5, generator=generator),
        "mask": torch.randint(2, (K, 5), generator=generator),
        "labels": torch.randint(C, (K,), generator=generator),
    }


def without(batch: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: part for key, part in batch.items() if key not in keys}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("wrap", [dict, UserDict])
@pytest.mark.parametrize("method", ["multinomial", "race"])
def test_the_target_is_found_in_the_batch(classifier, inputs, wrap, method):
    expected = Selector(classifier, N, method=method, seed=1)(
        without(inputs, "labels"), inputs["labels"]
    )
    batch = Selector(classifier, N, method=method, seed=1, target="labels")(wrap(inputs))
    assert torch.equal(batch.index, expected.index)
    assert torch.equal(batch.weight, expected.weight)
    assert torch.equal(batch.y, inputs["labels"][batch.index])
    assert same(batch.x, expected.x)
    assert same(batch.inputs, {key: part[batch.index] for key, part in inputs.items()})
    assert expected.inputs is expected.x


def test_the_model_is_scored_without_labels_and_trained_with_them(classifier, inputs):
    selector = Selector(classifier, N, target="labels")
    batch = selector(inputs)
    assert classifier.losses == 0
    logits = classifier(**batch.inputs).logits
    batch.mean(F.cross_entropy(logits, batch.y, reduction="none")).backward()
    assert classifier.losses == 1


@pytest.mark.parametrize("importance", [True, False])
@pytest.mark.parametrize("inputs_are", ["ids", ("ids",)])
def test_columns_say_what_the_model_is_called_with(inputs, importance, inputs_are):
    torch.manual_seed(0)

    class Model(nn.Linear):
        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids)

    model = Model(5, C)
    start = None if importance else strategies.make("uniform", model, N).start
    columns = Columns("labels", inputs=inputs_are)
    batch = Selector(model, N, target=columns, start=start, seed=1)(inputs)
    expected = Selector(model, N, start=start, seed=1)(inputs["ids"], inputs["labels"])
    assert torch.equal(batch.index, expected.index)
    if isinstance(inputs_are, str):
        assert torch.equal(batch.x, expected.x)
    else:
        assert same(batch.x, {"ids": expected.x})
    assert same(batch.inputs, {key: part[batch.index] for key, part in inputs.items()})


def test_numbers_of_samples_are_found_in_the_batch(classifier, inputs):
    numbers = torch.arange(100, 100 + K)
    selector = Selector(classifier, N, target="labels", counts=PickCounts(200))
    batch = selector({**inputs, "index": numbers})
    assert list(batch.x) == ["ids", "mask"]
    assert torch.equal(batch.inputs["index"], batch.index)
    assert selector.counts.counts[batch.index].all()
    other = Selector(classifier, N, target=Columns("labels", index="id"), seed=1)
    assert (other({**inputs, "id": numbers}).index >= 100).all()
    assert (other(inputs, index=numbers).index >= 100).all()
    assert (other(inputs).index < K).all()


@pytest.mark.parametrize("overlap", [False, True])
def test_a_loader_of_dicts_is_gone_through(classifier, inputs, overlap):
    data = WithIndex([{key: part[i] for key, part in inputs.items()} for i in range(K)])
    loader = torch.utils.data.DataLoader(data, batch_size=32)
    selector = Selector(classifier, N, target="labels")
    batches = list(selector.batches(loader, overlap=overlap))
    assert len(batches) == K // 32
    for batch in batches:
        assert torch.equal(batch.inputs["ids"], inputs["ids"][batch.index])


@pytest.mark.parametrize("name", strategies.names("batch"))
def test_every_strategy_takes_dicts_with_their_target(name, classifier, inputs):
    numbered = {**inputs, "index": torch.arange(K)}
    required = {"rho-loss": {"irreducible": torch.zeros(K)}}.get(name, {})
    strategy = strategies.make(name, classifier, N, target="labels", seed=1, **required)
    batches = list(strategy.batches([numbered] * 4))
    assert batches
    for batch in batches:
        assert list(batch.x) == ["ids", "mask"]
        assert same(batch.inputs, {key: part[batch.index] for key, part in numbered.items()})
        batch.mean(F.cross_entropy(classifier(**batch.x).logits, batch.y, reduction="none"))
    assert classifier.losses == 0


@pytest.mark.parametrize("waits", ["pool", "queue"])
def test_what_waits_is_saved_with_all_keys(classifier, inputs, waits):
    def make() -> Selector | Queue:
        if waits == "pool":
            return Selector(classifier, N, target="labels", batches_per_pool=3, seed=1)
        return strategies.make("uniform", classifier, N, target="labels")

    one, other = make(), make()
    one(inputs)
    other.load_state_dict(one.state_dict())
    batch, again = one.pop(), other.pop()
    assert same(batch.inputs, again.inputs)
    assert same(batch.x, again.x)
    assert list(batch.inputs) == list(inputs)


def test_irreducible_losses_are_found_of_dicts(classifier, inputs):
    numbered = {**inputs, "index": torch.arange(K)}
    found = irreducible_losses(classifier, [numbered], K, target="labels")
    plain = without(inputs, "labels"), inputs["labels"], numbered["index"]
    assert torch.equal(found, irreducible_losses(classifier, [plain], K))
    with pytest.raises(ValueError, match="index is missing"):
        irreducible_losses(classifier, [inputs], K, target="labels")


def test_scores_and_settings_are_those_without_the_target(classifier, inputs, capsys):
    selector = Selector(classifier, N, target="labels")
    plain = Selector(classifier, N)
    expected = plain.scores(without(inputs, "labels"), inputs["labels"])
    assert torch.equal(selector.scores(inputs), expected)
    selector.tune(inputs, seconds=0.0)
    assert classifier.losses == 0
    assert "taken" in capsys.readouterr().out


def test_a_score_function_gets_what_the_model_is_called_with(classifier, inputs):
    seen = []

    def score(logits: Tensor, y: Tensor, x: Any) -> Tensor:
        seen.append((list(x), y))
        return logits.logsumexp(1).exp()

    Selector(classifier, N, score=score, target="labels")(inputs)
    assert seen[0][0] == ["ids", "mask"]
    assert torch.equal(seen[0][1], inputs["labels"])


@pytest.mark.parametrize("start", [None, strategies.make("uniform", nn.Identity(), N).start])
def test_a_graph_step_takes_them(recorder, inputs, start):
    def train(target: str | None) -> Tensor:
        torch.manual_seed(0)
        model = Classifier()
        selector = Selector(model, N, target=target, seed=1, start=start)
        step = GraphStep(selector, torch.optim.SGD(model.parameters(), lr=0.1))
        recorder(step)
        for _ in range(4):
            if target is None:
                step(without(inputs, "labels"), inputs["labels"])
            else:
                step(inputs)
        assert model.losses == 0
        return model.linear.weight

    assert torch.equal(train("labels"), train(None))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: (torch.zeros(K, 5),), TypeError, "the batch is Tensor, expected a dict"),
        (lambda x: (x, x["labels"]), TypeError, "y is given, but target is 'labels', which is"),
        (lambda x: (without(x, "labels"),), KeyError, "has no 'labels', it has 'ids', 'mask'"),
        (lambda x: ({**x, "labels": None},), TypeError, "y is missing"),
        (lambda x: ({**x, "labels": [1, 2]},), TypeError, "is list, expected a tensor"),
        (lambda x: ({**x, "mask": x["mask"][1:]},), ValueError, r"x\['mask'\] has shape"),
    ],
)
@pytest.mark.parametrize("make", [Selector, lambda *a, **o: strategies.make("uniform", *a, **o)])
def test_a_wrong_batch_is_named(classifier, inputs, make, call, error, message):
    strategy = make(classifier, N, target="labels")
    with pytest.raises(error, match=message):
        strategy(*call(inputs))


def test_a_missing_target_is_named(classifier, inputs):
    with pytest.raises(TypeError, match=r"y is missing: call with \(x, y\), or make"):
        next(Selector(classifier, N).batches([inputs]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": 3}, TypeError, "target is 3, expected a key of the batches or several"),
        ({"target": "y", "index": None}, TypeError, "index is None, expected a key"),
        (
            {"target": "y", "inputs": 3},
            TypeError,
            "inputs is 3, expected a key of the batches or several",
        ),
        ({"target": "y", "inputs": ("x", 3)}, TypeError, "or several, each a str"),
        ({"target": "y", "inputs": ("x", "y")}, ValueError, "inputs has 'y', which is the target"),
        ({"target": "y", "inputs": "index"}, ValueError, "inputs has 'index', which is the index"),
        ({"target": "index"}, ValueError, "target and index are both 'index'"),
    ],
)
def test_wrong_columns_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Columns(**arguments)


def test_columns_show_their_settings():
    assert repr(Columns("y", inputs="x")) == "Columns('y', inputs='x')"
