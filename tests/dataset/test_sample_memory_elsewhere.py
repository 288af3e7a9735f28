"""Steps whose tensors are on an accelerator."""

import math

import pytest
import torch

from impsamp_fast.dataset.sample_memory import SampleMemory
from tests.dataset.memories import EVERYTHING, assert_same, steps
from tests.elsewhere import Elsewhere


@pytest.mark.parametrize("index_is_here", [False, True])
def test_steps_on_an_accelerator_are_fetched_together(index_is_here):
    memory, expected = (SampleMemory(9, track=EVERYTHING, classes=4) for _ in range(2))
    Elsewhere.copies = 0
    for index, logits, target in steps(150, 9, 12, 4):
        there = index.clone() if index_is_here else Elsewhere(index.clone())
        losses = Elsewhere(torch.rand(12))
        expected.update(index, logits, target, losses=losses.values.clone())
        memory.update(there, Elsewhere(logits), Elsewhere(target), losses=losses)
        there.zero_()  # the caller's tensors are the caller's
        losses.zero_()
    # Of 150 steps the first 64 are due when 128 are complete; the index here is not copied over.
    fields = 3 if index_is_here else 4
    assert Elsewhere.copies == 64 * fields
    assert_same(memory, expected)
    assert Elsewhere.copies == 150 * fields


def test_steps_from_several_devices_keep_their_order():
    memory, expected = (SampleMemory(9, track=EVERYTHING, classes=4) for _ in range(2))
    for t, (index, logits, target) in enumerate(steps(90, 9, 12, 4)):
        expected.update(index, logits, target)
        there = Elsewhere if t % 3 else torch.clone
        memory.update(Elsewhere(index) if t % 5 else index, there(logits), there(target))
    assert_same(memory, expected)


def test_a_wrong_step_on_an_accelerator_is_named_once_and_left_out():
    memory = SampleMemory(4)
    for index, loss in ([0], 1.0), ([4], 2.0), ([1], 3.0), ([2], math.nan), ([3], 5.0):
        memory.update(Elsewhere(torch.tensor(index)), losses=Elsewhere(torch.tensor([loss])))
    with pytest.raises(IndexError, match=r"in update 1: index\[0\] is 4, but there are 4 samples"):
        memory.loss  # noqa: B018
    with pytest.raises(ValueError, match=r"in update 3: losses\[0\] is nan"):
        memory.update(torch.tensor([3]), losses=torch.tensor([6.0]))
    assert memory.seen.tolist() == [1, 1, 0, 1]
    memory.update(torch.tensor([3]), losses=torch.tensor([6.0]))
    assert memory.loss[[0, 1, 3]].tolist() == [1, 3, 6]
    assert memory.loss.isnan().tolist() == [False, False, True, False]
    assert memory.seen.tolist() == [1, 1, 0, 2]


def test_loading_forgets_the_steps_that_wait():
    memory = SampleMemory(3)
    state = memory.state_dict()
    memory.update(torch.tensor([0]), losses=Elsewhere(torch.tensor([1.0])))
    memory.load_state_dict(state)
    assert memory.seen.tolist() == [0, 0, 0]
