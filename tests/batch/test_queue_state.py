"""Queues go on with the rows that wait, and with what they remember."""

import io

import pytest
import torch
from torch import Tensor, nn

from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.batch.start import After, LossRatio
from impsamp_fast.dataset.pick_counts import PickCounts
from tests.batch.queues import OfClass
from tests.toy import C, K, N


def make_queue(kind: type[Queue], model: nn.Module, **options) -> Queue:
    if kind is Accumulator:
        return Accumulator(model, N, AccuracyFilter(), patience=3, **options)
    return SelectiveBackprop(model, N, history=100, **options)


@pytest.mark.parametrize("kind", [Accumulator, SelectiveBackprop])
class TestResuming:
    @pytest.mark.parametrize("stop", [1, 4, 7])
    def test_continues_with_the_rows_that_wait(self, model, data, kind, stop):
        x, y = data
        raw_batches = [
            (x[rows], y[rows], rows)
            for rows in torch.randint(K, (12, 24), generator=torch.Generator().manual_seed(2))
        ]
        options = {"start": After(2), "counts": PickCounts(K)}
        before = make_queue(kind, model, seed=1, **options)
        whole = make_queue(kind, model, seed=1, start=After(2), counts=PickCounts(K))
        expected = [batch.index.tolist() for batch in whole.batches(raw_batches)]
        found = [batch.index.tolist() for batch in before.batches(raw_batches[:stop])]
        file = io.BytesIO()
        torch.save(before.state_dict(), file)
        file.seek(0)
        after = make_queue(kind, model, seed=99, start=After(2), counts=PickCounts(K))
        after.load_state_dict(torch.load(file, weights_only=True))
        found += [batch.index.tolist() for batch in after.batches(raw_batches[stop:])]
        assert found == expected
        assert torch.equal(after.counts.counts, whole.counts.counts)

    def test_loading_changes_nothing_unless_all_fits(self, model, data, kind):
        queue = make_queue(kind, model, start=LossRatio(0.5), counts=PickCounts(K))
        queue(*data, torch.arange(K))
        state = queue.state_dict()
        other_kind = SelectiveBackprop if kind is Accumulator else Accumulator
        misfits = [
            (other_kind, {}, {}, KeyError, "the state is not that of a"),
            (kind, {"start": After(1)}, {}, KeyError, "a state of|the state of a After"),
            (kind, {"counts": PickCounts(K + 1)}, {}, ValueError, "has size 65"),
            (kind, {"counts": None}, {}, ValueError, "the state counts picks and this"),
            (kind, {}, {"seed": None}, TypeError, "the state's seed is None"),
            (kind, {}, {"step": -1}, ValueError, "the state's step is -1"),
            (kind, {}, {"numbered": 1.5}, TypeError, "the state's numbered is 1.5"),
            (kind, {}, {"unfilled": -1}, ValueError, "the state's unfilled is -1, expected at lea"),
            (kind, {}, {"importance": 1}, TypeError, "importance is 1, expected a bool"),
            (kind, {}, {"rows": (data[0], data[1][1:], data[1])}, ValueError, "x has shape"),
        ]
        for other_class, options, change, error, message in misfits:
            options = {"start": LossRatio(0.5), "counts": PickCounts(K)} | options
            other = make_queue(other_class, model, **options)
            before = str(other.state_dict())
            with pytest.raises(error, match=message):
                other.load_state_dict(state | change)
            assert str(other.state_dict()) == before
        with pytest.raises(KeyError, match=f"the state is not that of a {kind.__name__}"):
            queue.load_state_dict({})

    def test_a_state_is_a_copy(self, model, data, kind):
        x, y = data
        queue = make_queue(kind, model, seed=1, start=After(1))
        queue(x, y)
        state = queue.state_dict()
        saved = str(state)
        other = make_queue(kind, model)
        other.load_state_dict(state)
        for batch in other.batches([(x, y)]):
            batch.x.fill_(7)
        assert str(state) == saved


def test_a_smaller_history_refuses_the_losses_of_a_larger(model, data):
    large, small = (SelectiveBackprop(model, N, history=size) for size in (100, 10))
    large(*data)
    with pytest.raises(ValueError, match=r"losses of shape \[64\], expected at most 10"):
        small.load_state_dict(large.state_dict())


@pytest.mark.parametrize(
    ("losses", "found"), [([1.0], "list"), (torch.ones(1).double(), "a tensor of torch.float64")]
)
def test_losses_of_another_kind_change_nothing(model, data, losses, found):
    queue = SelectiveBackprop(model, N)
    queue(*data)
    before = str(queue.state_dict())
    with pytest.raises(TypeError, match=f"losses are {found}, expected a tensor of torch.float32"):
        queue.load_state_dict(queue.state_dict() | {"memory": {"losses": losses}})
    assert str(queue.state_dict()) == before


def test_rows_of_any_structure_are_saved_as_plain_ones(data):
    class Two(nn.Module):
        def forward(self, left: Tensor, others: list[Tensor]) -> Tensor:
            return left[:, :C] + others[0][:, :C]

    left, y = data
    queue = Accumulator(Two(), N, OfClass(1), start=After(1))
    batches = [({"left": left[:20], "others": [left[:20]]}, y[:20])]
    list(queue.batches(batches))
    file = io.BytesIO()
    torch.save(queue.state_dict(), file)
    file.seek(0)
    other = Accumulator(Two(), N, OfClass(1), start=After(1))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.waiting == queue.waiting == 4
    batch = next(other.batches([({"left": left, "others": [left]}, y)]))
    assert torch.equal(batch.x["left"], batch.x["others"][0])
    assert torch.equal(batch.x["left"][:4], left[16:20])
