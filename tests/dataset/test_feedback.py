"""What samplers learn from steps whose tensors are on an accelerator."""

import pytest
import torch

from impsamp_fast.dataset import Bandit, EpochAccuracyFilter
from impsamp_fast.dataset.sampler import DatasetSampler
from tests.dataset.memories import steps
from tests.elsewhere import Elsewhere

SIZE, N, C = 20, 8, 4

both = pytest.mark.parametrize("kind", [Bandit, EpochAccuracyFilter])


def table(sampler: DatasetSampler) -> torch.Tensor:
    """What has been learned."""
    tables = sampler.state_dict()["tables"]
    return tables["log_weight" if isinstance(sampler, Bandit) else "passes"]


@both
@pytest.mark.parametrize("index_is_here", [False, True])
def test_is_fetched_in_groups_and_learned_in_order(kind, index_is_here):
    sampler, expected = kind(SIZE, seed=1), kind(SIZE, seed=1)
    Elsewhere.copies = 0
    for index, logits, target in steps(150, SIZE, N, C):
        there = index.clone() if index_is_here else Elsewhere(index.clone())
        expected.update(index, logits, target)
        sampler.update(there, Elsewhere(logits), Elsewhere(target))
        there.zero_()  # the caller's tensors are the caller's
    fields = 1 if index_is_here else 2
    assert Elsewhere.copies == 64 * fields
    assert torch.equal(table(sampler), table(expected))
    assert Elsewhere.copies == 150 * fields


@both
def test_is_learned_before_the_next_draw(kind):
    sampler, expected = kind(SIZE, seed=1), kind(SIZE, seed=1)
    for index, logits, target in steps(3, SIZE, N, C):
        expected.update(index, logits, target)
        sampler.update(Elsewhere(index), Elsewhere(logits), Elsewhere(target))
    for one in (sampler, expected):
        one.set_epoch(1)
    assert list(sampler) == list(expected)


@both
def test_a_wrong_step_is_named_once_and_left_out(kind):
    sampler, expected = kind(SIZE, seed=1), kind(SIZE, seed=1)
    right, wrong, last = steps(3, SIZE, N, C)
    for index, logits, target in (right, (wrong[0] + SIZE, *wrong[1:]), last):
        sampler.update(Elsewhere(index), Elsewhere(logits), Elsewhere(target))
    for step in (right, last):
        expected.update(*step)
    with pytest.raises(IndexError, match=f"but there are {SIZE} samples"):
        sampler.state_dict()
    assert torch.equal(table(sampler), table(expected))


@both
@pytest.mark.parametrize(
    ("memory", "error", "message"),
    [
        ({}, KeyError, r"expected \['faulty_rows'\]"),
        ({"faulty_rows": 1.0}, TypeError, "faulty_rows is 1.0, expected an int"),
        ({"faulty_rows": -1}, ValueError, "faulty_rows is -1, expected at least 0"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(kind, memory, error, message):
    sampler, other = kind(SIZE, seed=1), kind(SIZE, seed=2)
    for index, logits, target in steps(3, SIZE, N, C):
        sampler.update(index, logits, target)
    before = table(sampler).clone()
    with pytest.raises(error, match=message):
        sampler.load_state_dict(other.state_dict() | {"memory": memory})
    assert torch.equal(table(sampler), before)


@both
def test_is_forgotten_when_a_state_is_loaded(kind):
    sampler = kind(SIZE, seed=1)
    state = sampler.state_dict()
    for index, logits, target in steps(3, SIZE, N, C):
        sampler.update(Elsewhere(index), Elsewhere(logits), Elsewhere(target))
    sampler.load_state_dict(state)
    assert torch.equal(table(sampler), table(kind(SIZE)))
