"""Rows that are no tensor, such as strings and ids: they come back with the mini-batch's rows."""

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from impsamp_fast import Columns, GraphStep, Selector, strategies
from impsamp_fast.batch._nested import are_rows, layout_of_row
from tests.toy import C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [f"row {i}" for i in range(K)]
BOXES = [[i] * (i % 3) for i in range(K)]  # lists of any length
TAGS = [{"id": i} for i in range(K)]
NUMBERS = np.arange(K) * 10


class Model(nn.Linear):
    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Model(5, C)


def rows() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {
        "name": NAMES,
        "rows": torch.randn(K, 5, generator=generator),
        "boxes": tuple(BOXES),
        "tags": TAGS,
        "number": NUMBERS,
        "labels": torch.randint(C, (K,), generator=generator),
    }


def check(inputs: dict[str, Any], index: list[int]) -> None:
    index = [i % K for i in index]
    assert list(inputs) == list(rows())
    assert inputs["name"] == [NAMES[i] for i in index]
    assert list(inputs["boxes"]) == [BOXES[i] for i in index]
    assert inputs["tags"] == [TAGS[i] for i in index]
    assert list(inputs["number"]) == [NUMBERS[i] for i in index]


@pytest.mark.parametrize("name", ["kf18", "random-subset", "uniform", "selective-backprop"])
def test_they_come_back_and_the_model_is_not_called_with_them(model, name):
    strategy = strategies.make(name, model, N, target="labels", seed=1)
    batches = list(strategy.batches([rows()] * 4))
    assert len(batches) >= 3
    for batch in batches:
        check(batch.inputs, batch.index.tolist())
        assert list(batch.x) == ["rows"]
        for micro in batch.split(5):
            check(micro.inputs, micro.index.tolist())
    assert isinstance(batch.inputs["name"], list)
    there = batch.to("meta")
    assert there.inputs["name"] == batch.inputs["name"]


def test_kinds_are_kept(model):
    batch = Selector(model, N, target="labels", batches_per_pool=2)(rows())
    assert isinstance(batch.inputs["boxes"], tuple)
    assert isinstance(batch.inputs["number"], np.ndarray)


@pytest.mark.parametrize("name", ["pool", "queue"])
def test_what_waits_is_saved_with_them(model, tmp_path, name):
    def make() -> Any:
        if name == "pool":
            return Selector(model, N, target="labels", batches_per_pool=3, seed=1)
        return strategies.make("uniform", model, N, target="labels")

    one, other = make(), make()
    one(rows())
    torch.save(one.state_dict(), tmp_path / "state")
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    if name == "queue":
        other(rows())
    batch = other.pop()
    while batch is not None:
        check(batch.inputs, batch.index.tolist())
        batch = other.pop()


def test_a_queue_keeps_its_own(model):
    names = list(NAMES)
    queue = strategies.make("uniform", model, K + N, target="labels")
    assert queue({**rows(), "name": names}) is None
    names[:] = [""] * K
    check(queue(rows()).inputs, list(range(K)) + list(range(N)))


def test_a_model_takes_them_where_they_are_named():
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, C)

        def forward(self, names: list[str]) -> Tensor:
            return self.linear(torch.tensor([[float(name[4:])] for name in names]))

    model = Reader()
    batch = Selector(model, N, target=Columns("labels", inputs="name"), seed=1)(rows())
    plain = Selector(model, N, seed=1)(NAMES, rows()["labels"])
    assert batch.x == plain.x == [NAMES[i] for i in batch.index.tolist()]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (["a", "b"], True),
        ((b"a", b"b"), True),
        ([1, 2], True),
        ([None, None], True),
        ([[1], []], True),
        ([[], [1]], True),
        ([{"a": 1}], True),
        (np.zeros(3), True),
        (["a", ["b"]], True),
        (np.float64(3), False),
        ("ab", False),
        ([], True),
        (torch.zeros(2), False),
        ([torch.zeros(2)], False),
        ([["a"], torch.zeros(2)], False),
        ([{"a": ["b"], "c": torch.zeros(2)}], False),
        ([[["a"], [torch.zeros(2)]]], False),
        ({"a": ["b"]}, False),
        (namedtuple("Pair", "a b")("a", "b"), False),
    ],
)
def test_what_rows_are(x, expected):
    assert are_rows(x) == expected


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        (NAMES[1:], ValueError, r"x\['name'\] is a list of 63 rows, but y has 64"),
        (np.zeros(3), ValueError, r"x\['name'\] is a ndarray of 3 rows, but y has 64"),
        ("text", TypeError, r"x\['name'\] is str, expected a tensor"),
        (3, TypeError, r"x\['name'\] is int, expected a tensor"),
    ],
)
def test_a_wrong_part_is_named(model, part, error, message):
    with pytest.raises(error, match=message):
        Selector(model, N, target="labels")({**rows(), "name": part})


def test_ranks_do_not_exchange_them():
    with pytest.raises(TypeError, match="rows that are no tensor, a list, which ranks do not"):
        layout_of_row(rows())


def test_a_graph_does_not_take_them(recorder, model):
    step = GraphStep(
        Selector(model, N, target="labels"), torch.optim.SGD(model.parameters(), lr=0.1)
    )
    recorder(step)
    with pytest.raises(TypeError, match="rows that are no tensor, a list, which a graph cannot"):
        step(rows())
