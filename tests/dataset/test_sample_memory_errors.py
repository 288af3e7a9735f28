"""Whatever is wrong, the error says what, and the memory stays as it was."""

import math
from typing import Any

import pytest
import torch

from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.dataset.sample_memory import SampleMemory
from tests.dataset.memories import EVERYTHING, assert_same_state, snapshot, steps

# What is wrong, in a step that is otherwise right: index [3, 1], logits [2, 3], target [2] and
# losses [2] for 5 samples of 3 classes.
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "index beyond": ({"index": torch.tensor([3, 5])}, IndexError, r"index\[1\] is 5, but .* 5 sam"),
    "index negative": ({"index": torch.tensor([-1, 1])}, IndexError, r"index\[0\] is -1"),
    "index floating": (
        {"index": torch.tensor([3.0, 1])},
        TypeError,
        "index is a tensor of torch.f",
    ),
    "index list": ({"index": [3, 1]}, TypeError, "index is list, expected an int64 or int32"),
    "index shape": ({"index": torch.tensor([[3, 1]])}, ValueError, r"index has shape \[1, 2\]"),
    "loss nan": ({"losses": torch.tensor([1, math.nan])}, ValueError, r"losses\[1\] is nan"),
    "loss inf": ({"losses": torch.tensor([-math.inf, 1])}, ValueError, r"losses\[0\] is -inf"),
    "loss too large": (
        {"losses": torch.tensor([1e300, 1], dtype=torch.float64)},
        ValueError,
        r"losses\[0\] is inf, but must be finite in float32",
    ),
    "losses integer": (
        {"losses": torch.tensor([1, 2])},
        TypeError,
        "losses is a tensor of torch.i",
    ),
    "losses list": ({"losses": [1.0, 2.0]}, TypeError, "losses is list"),
    "losses reduced": ({"losses": torch.tensor(1.0)}, ValueError, r'\[\], .* reduction="none"'),
    "no logits": ({"logits": None}, ValueError, "logits is None, but is needed for 'p_true'"),
    "logits list": ({"logits": [[1.0] * 3] * 2}, TypeError, "logits is list, expected a tensor"),
    "logits shape": ({"logits": torch.zeros(6)}, ValueError, r"\[6\], expected \[2, C\]"),
    "too few logits": ({"logits": torch.zeros(1, 3)}, ValueError, r"\[1, 3\], expected \[2, C\]"),
    "more classes": ({"logits": torch.zeros(2, 4)}, ValueError, "4 classes, but .* has 3"),
    "logit nan": ({"logits": torch.full((2, 3), math.nan)}, ValueError, r"logits\[0, 0\] is nan"),
    "no target": ({"target": None}, ValueError, "target is None, but is needed for 'p_true'"),
    "target beyond": ({"target": torch.tensor([0, 3])}, IndexError, r"target\[1\] is 3"),
    "target ignored": ({"target": torch.tensor([0, -100])}, IndexError, r"target\[1\] is -100"),
    "target shape": ({"target": torch.tensor([0])}, ValueError, "target has shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_step_that_is_wrong_changes_nothing(name):
    memory = SampleMemory(5, track=EVERYTHING, classes=3)
    memory.update(torch.tensor([0, 3]), torch.randn(2, 3), torch.tensor([1, 2]))
    before = snapshot(memory)
    step = {
        "index": torch.tensor([3, 1]),
        "logits": torch.randn(2, 3),
        "target": torch.tensor([0, 1]),
        "losses": torch.rand(2),
    }
    wrong, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        memory.update(**{**step, **wrong})
    assert_same_state(snapshot(memory), before)
    memory.update(**step)
    assert memory.seen.tolist() == [1, 1, 0, 2, 0]


OF_A_ROW = {
    *("loss nan", "loss inf", "loss too large", "logit nan", "target beyond", "target ignored"),
}


@pytest.mark.parametrize("name", [name for name in WRONG if name not in OF_A_ROW])
def test_what_is_no_rows_fault_is_not_skipped(name):
    memory = SampleMemory(5, track=EVERYTHING, classes=3, on_fault="skip")
    step = {
        "index": torch.tensor([3, 1]),
        "logits": torch.tensor([[0.0, 1, 2], [math.nan] * 3]),
        "target": torch.tensor([0, 1]),
        "losses": torch.tensor([math.nan, 1]),
    }
    wrong, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        memory.update(**{**step, **wrong})
    assert memory.faulty_rows == 0


def test_what_the_statistics_come_from_must_be_there():
    with pytest.raises(ValueError, match="logits is None, but is needed for 'loss'"):
        SampleMemory(3).update(torch.tensor([0]))
    with pytest.raises(ValueError, match="target is None, but is needed for 'loss'"):
        SampleMemory(3).update(torch.tensor([0]), torch.zeros(1, 2))
    only_labels = SampleMemory(3, track=["labels"], classes=2)
    with pytest.raises(ValueError, match="logits is None, but is needed for 'labels'"):
        only_labels.update(torch.tensor([0]), losses=torch.zeros(1))
    with pytest.raises(ValueError, match=r"logits\[0, 1\] is nan"):
        only_labels.update(torch.tensor([0]), torch.tensor([[0, math.nan]]))
    with pytest.raises(ValueError, match=r"losses\[0\] is inf"):
        SampleMemory(3).update(torch.tensor([0]), torch.tensor([[0, -math.inf]]), torch.tensor([1]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 0}, ValueError, "size is 0, expected at least 1"),
        ({"size": 2.5}, TypeError, "size is 2.5, expected an integer"),
        ({"history": 0}, ValueError, "history is 0, expected at least 1"),
        ({"history": "a"}, TypeError, "history is 'a', expected an integer"),
        ({"track": "loss"}, TypeError, r"track is 'loss', expected a collection such as \('loss'"),
        ({"track": None}, TypeError, "track is None, expected a collection"),
        ({"track": ["loss", "lost"]}, ValueError, "track names 'lost', expected any of loss, p_tr"),
        ({"track": ["labels"]}, ValueError, 'classes is None, but tracking "labels"'),
        ({"classes": 3}, ValueError, 'classes is 3, but only tracking "labels" uses it'),
        ({"track": ["labels"], "classes": 1}, ValueError, "classes is 1, expected between 2 and"),
        ({"track": ["labels"], "classes": 2**31}, ValueError, "classes is 2147483648, expected"),
        ({"track": ["labels"], "classes": 2.0}, TypeError, "classes is 2.0, expected an integer"),
        ({"on_fault": "drop"}, ValueError, "on_fault is 'drop', expected one of 'raise', 'skip'"),
    ],
)
def test_arguments_of_the_memory(arguments, error, message):
    with pytest.raises(error, match=message):
        SampleMemory(**{"size": 3, **arguments})


def test_untracked_statistics_say_so():
    memory = SampleMemory(3, track=())
    for name in ("loss", "p_true_mean", "p_true_variance", "labels", "picks"):
        with pytest.raises(AttributeError, match="does not track"):
            getattr(memory, name)
        assert not hasattr(memory, name)
    with pytest.raises(AttributeError, match="does not track 'labels': make it with 'labels'"):
        memory.label_entropy()


def without(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: without("loss", s), KeyError, "expected .*'loss'"),
        (lambda s: {**s, "more": 1}, KeyError, "the state has the keys .*'more'"),
        (lambda s: without("picks", s), KeyError, "expected .*'picks'"),
        (lambda s: {**s, "loss": s["loss"].double()}, TypeError, "loss is a tensor of torch.fl"),
        (lambda s: {**s, "seen": [0] * 4}, TypeError, "seen is list, expected a tensor of torch.i"),
        (lambda s: {**s, "loss": s["loss"][:3]}, ValueError, r"loss has shape \[3\], expected \[4"),
        (lambda s: {**s, "labels": s["labels"][:, :3]}, ValueError, r"labels has shape \[4, 3\]"),
        (
            lambda s: {**s, "labels": s["labels"] + 3},
            ValueError,
            "labels are from 3 to .*3 classes",
        ),
        (lambda s: {**s, "seen": s["seen"] - 9}, ValueError, "seen has -9, expected at least 0"),
        (lambda s: {**s, "faulty_rows": None}, TypeError, "faulty_rows is None, expected an int"),
        (lambda s: {**s, "faulty_rows": -1}, ValueError, "faulty_rows is -1, expected at least 0"),
        (lambda s: {**s, "picks": {}}, KeyError, "counts"),
        (lambda s: {**s, "picks": PickCounts(5).state_dict()}, ValueError, "has size 4"),
    ],
)
def test_refuses_a_state_that_does_not_fit(change, error, message):
    memory = SampleMemory(4, track=EVERYTHING, classes=3)
    memory.update(*steps(1, 4, 6, 3)[0])
    before = snapshot(memory)
    other = SampleMemory(4, track=EVERYTHING, classes=3)
    with pytest.raises(error, match=message):
        memory.load_state_dict(change(other.state_dict()))
    assert_same_state(snapshot(memory), before)
