import io
from collections import Counter

import pytest
import torch

from impsamp_fast.dataset.pick_counts import PickCounts
from tests.devices import need_cuda
from tests.elsewhere import Elsewhere


def counted(size: int, *updates: list[int]) -> PickCounts:
    counts = PickCounts(size)
    for update in updates:
        counts.update(torch.tensor(update, dtype=torch.int64))
    return counts


def test_counts_each_pick():
    generator = torch.Generator().manual_seed(0)
    counts, expected = PickCounts(50), Counter()
    for _ in range(20):
        index = torch.randint(50, (30,), generator=generator)
        counts.update(index)
        expected.update(index.tolist())
    assert counts.counts.dtype == torch.int64
    assert counts.counts.tolist() == [expected[i] for i in range(50)]


def test_counts_duplicates_of_one_mini_batch():
    assert counted(4, [2, 2, 0, 2]).counts.tolist() == [1, 0, 3, 0]


def test_an_empty_mini_batch_counts_nothing():
    assert counted(2, []).counts.tolist() == [0, 0]


def test_takes_int32_and_any_stride():
    counts = PickCounts(4)
    counts.update(torch.tensor([3, 0, 3, 0, 1], dtype=torch.int32)[::2])
    assert counts.counts.tolist() == [0, 1, 0, 2]


def test_ranks_samples_with_ties_to_the_lower_number():
    counts = counted(5, [4, 4, 1, 1, 3])
    assert counts.most(5).tolist() == [1, 4, 3, 0, 2]
    assert counts.least(5).tolist() == [0, 2, 3, 1, 4]
    assert counts.most(2).tolist() == [1, 4]
    assert counts.least(1).tolist() == [0]
    assert counts.most(0).tolist() == []


@pytest.mark.parametrize("k", [-1, 6])
def test_cannot_rank_more_than_there_are(k):
    counts = PickCounts(5)
    for ranking in (counts.most, counts.least):
        with pytest.raises(ValueError, match=f"k is {k}, expected 0 <= k <= 5"):
            ranking(k)


@pytest.mark.parametrize(("index", "message"), [([1, 5, 0], r"\[1\] is 5"), ([-1], r"\[0\] is -1")])
def test_an_index_out_of_range_counts_nothing(index, message):
    counts = counted(5, [0, 1])
    with pytest.raises(IndexError, match=f"index{message}, but there are 5 samples"):
        counts.update(torch.tensor(index))
    assert counts.counts.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("index", [[1, 2], torch.tensor([1.0]), torch.tensor([True])])
def test_the_index_is_an_integer_tensor(index):
    with pytest.raises(TypeError, match="expected an int64 or int32 tensor"):
        PickCounts(5).update(index)


def test_the_index_has_one_dimension():
    with pytest.raises(ValueError, match=r"index has shape \[\], expected one dimension"):
        PickCounts(5).update(torch.tensor(1))


def test_needs_samples():
    with pytest.raises(ValueError, match="size is 0, expected at least 1"):
        PickCounts(0)


@pytest.mark.parametrize("number", [2.5, "a", None])
def test_sizes_and_ranks_are_integers(number):
    with pytest.raises(TypeError, match=f"size is {number!r}, expected an integer"):
        PickCounts(number)
    for ranking in (PickCounts(5).most, PickCounts(5).least):
        with pytest.raises(TypeError, match=f"k is {number!r}, expected an integer"):
            ranking(number)


def test_continues_from_a_saved_state():
    before, after = counted(3, [0, 2]), counted(3, [1])
    file = io.BytesIO()
    torch.save(before.state_dict(), file)
    before.update(torch.tensor([0]))
    file.seek(0)
    after.load_state_dict(torch.load(file, weights_only=True))
    assert after.counts.tolist() == [1, 0, 1]
    after.update(torch.tensor([0]))
    assert after.counts.tolist() == before.counts.tolist() == [2, 0, 1]


def test_a_saved_state_does_not_change_with_the_counts():
    counts = counted(3, [0])
    state = counts.state_dict()
    counts.update(torch.tensor([0]))
    counts.load_state_dict(state)
    counts.update(torch.tensor([1]))
    assert state["counts"].tolist() == [1, 0, 0]


def test_refuses_a_state_that_does_not_fit():
    counts = counted(3, [0])
    with pytest.raises(ValueError, match=r"counts \[4\] samples.*has size 3"):
        counts.load_state_dict(counted(4).state_dict())
    with pytest.raises(KeyError, match="expected"):
        counts.load_state_dict({})
    for misfit, kind in ((torch.tensor([1.5, 0, 0]), "torch.float32"), ([1, 0, 0], "list")):
        with pytest.raises(TypeError, match=f"the state's counts are {kind}, expected an int64"):
            counts.load_state_dict({"counts": misfit})
    assert counts.counts.tolist() == [1, 0, 0]


@pytest.mark.cuda
def test_fetches_indices_of_an_accelerator_before_they_are_looked_at():
    need_cuda()
    counts = PickCounts(5)
    index = torch.tensor([1, 1, 4], device="cuda")
    counts.update(index)
    index.zero_()
    assert counts.counts.tolist() == [0, 2, 0, 0, 1]
    counts.update(torch.tensor([5], device="cuda"))
    with pytest.raises(IndexError, match=r"index\[0\] is 5"):
        counts.most(1)
    assert counts.most(1).tolist() == [1]


def test_a_batch_that_tells_an_older_error_is_counted_once():
    counts = PickCounts(4)
    for step in range(128):
        counts.update(Elsewhere(torch.tensor([4 if step == 0 else 3])))
    with pytest.raises(IndexError, match=r"in update 0: index\[0\] is 4, but there are 4 samples"):
        counts.update(Elsewhere(torch.tensor([0])))
    counts.update(Elsewhere(torch.tensor([0])))
    assert counts.counts.tolist() == [1, 0, 0, 127]
