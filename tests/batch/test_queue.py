"""Queues: which rows they keep, in which order they come out."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.batch.start import After, LossRatio, VarianceReduction
from impsamp_fast.dataset.pick_counts import PickCounts
from tests.batch.queues import OfClass, ones, raw
from tests.toy import C, K, N


class TestQueue:
    def test_collects_rows_in_order_and_keeps_the_surplus(self):
        queue = ones(3)
        assert queue(*raw(1, 0, 0, 1)) is None
        assert queue.waiting == 2
        batch = queue(*raw(0, 1, 1, 0, 1))
        assert batch.index.tolist() == [0, 3, 5]
        assert queue.waiting == 2
        assert queue(*raw(0, 0)) is None
        assert queue(*raw(1)).index.tolist() == [6, 8, 11]
        assert queue.waiting == 0

    def test_rows_come_with_all_that_is_theirs(self, model, data):
        x, y = data
        numbers = torch.randperm(1000)[:K]
        queue = Accumulator(model, 8, OfClass(1))
        batch = queue(x, y, numbers)
        rows = (y == 1).nonzero().squeeze(1)[:8]
        assert torch.equal(batch.index, numbers[rows])
        assert torch.equal(batch.x, x[rows])
        assert torch.equal(batch.y, y[rows])
        assert torch.equal(batch.weight, torch.ones(8))
        assert batch.weight.dtype == torch.float32
        assert batch.importance
        assert batch.mean(torch.arange(8.0)).item() == 3.5

    @pytest.mark.parametrize("rows", [list, tuple])
    def test_a_raw_batch_may_have_no_row_with_its_strings(self, rows):
        queue = ones(2, target=Columns("y", inputs="x"))
        batches = []
        for number, classes in enumerate([(0, 0), (1, 0), (0,), (0, 1)]):
            x, y = raw(*classes)
            names = rows(f"{number} {i}" for i in range(len(y)))
            batches += list(queue.batches([{"x": x, "y": y, "name": names}]))
        (batch,) = batches
        assert list(batch.inputs["name"]) == ["1 0", "3 1"]
        with pytest.raises(ValueError, match=r"x\['name'\] is a list of 0 rows, but y has 3"):
            queue({"x": torch.zeros(3, C), "y": torch.ones(3).long(), "name": []})

    def test_pops_what_one_raw_batch_filled(self):
        queue = ones(2)
        assert queue.pop() is None
        assert queue(*raw(1, 1, 1, 0, 1, 1)).index.tolist() == [0, 1]
        assert queue.raw_size == 0
        assert queue.pop().index.tolist() == [2, 4]
        assert queue.pop() is None
        assert queue(*raw(1)).index.tolist() == [5, 6]

    def test_yields_every_mini_batch_of_a_loader(self):
        queue = ones(2)
        loader = [raw(1, 0), raw(1, 1, 1, 1), raw(0), raw(1, 1)]
        found = [batch.index.tolist() for batch in queue.batches(loader)]
        assert found == [[0, 2], [3, 4], [5, 7]]
        assert queue.waiting == 1

    def test_says_once_that_it_grows(self):
        queue = ones(2)
        numbers = [1, 1, 1, 1]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(30):
                queue(*raw(*numbers))
        (message,) = (str(warning.message) for warning in caught)
        assert message.startswith("32 rows wait in the Accumulator, enough for 16 mini-batches")
        assert caught[0].filename == __file__
        assert queue.waiting == 60  # and nothing is lost
        found = []
        while (batch := queue.pop()) is not None:
            found += batch.index.tolist()
        assert found == list(range(60, 120))

    def test_does_not_say_so_where_all_are_taken_out(self):
        queue = ones(2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(list(queue.batches([raw(*[1] * 100)] * 5))) == 250

    def test_scores_when_the_mini_batch_is_asked_for(self):
        model = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        queue = Accumulator(model, 1, AccuracyFilter())
        x, y = torch.ones(1, 1), torch.tensor([1])
        batches = queue.batches([(x, y), (x, y), (x, y)])
        assert next(batches).index.tolist() == [0]
        with torch.no_grad():
            model.weight.neg_()  # all is right now
        assert list(batches) == []

    @pytest.mark.parametrize("n", [1, 3, 4, 6])
    def test_keeps_all_rows_unscored_before_the_start(self, n):
        called: list[int] = []

        def forward(x: Tensor) -> Tensor:
            called.append(len(x))
            return torch.zeros(len(x), C)

        model = nn.Module()
        model.forward = forward
        queue = Accumulator(model, n, OfClass(1), start=After(3))
        x, y = torch.arange(12.0).reshape(12, 1), torch.zeros(12, dtype=torch.int64)
        batches = []
        for i in (0, 4, 8):
            part = x[i : i + 4].clone()
            batches += list(queue.batches([(part, y[:4])]))
            part.fill_(-1)  # a loader may use its memory again
        assert all(not batch.importance for batch in batches)
        rows = [row for batch in batches for row in batch.index.tolist()]
        assert rows == list(range(12))
        if n != 4:  # a raw batch that fits is passed through as it is
            assert torch.cat([batch.x for batch in batches]).flatten().tolist() == list(range(12))
        assert called == [min(n, 4)]  # in the first call, to see whether they can be scored
        queue(x, y)
        assert called == [min(n, 4), 12]

    def test_a_start_rule_hears_the_loss(self):
        rule = LossRatio(0.5)
        queue = ones(2, start=rule)
        for loss in (4.0, 1.0):
            batch = queue(*raw(1, 0))
            assert not batch.importance
            batch.mean(torch.full((2,), loss))
        assert queue(*raw(1, 0)) is None  # one of them passes

    def test_counts_what_comes_out(self):
        counts = PickCounts(10)
        queue = ones(2, counts=counts)
        queue(*raw(1, 0, 1, 1), torch.tensor([7, 8, 9, 7]))
        assert counts.counts.tolist() == [0] * 7 + [1, 0, 1]
        queue(*raw(1), torch.tensor([7]))
        assert counts.counts.tolist() == [0] * 7 + [3, 0, 1]

    @pytest.mark.parametrize("index", [[0, 10], [-1, 0]])
    def test_a_number_out_of_the_data_set_changes_nothing(self, index):
        queue = ones(2, counts=PickCounts(10))
        with pytest.raises(IndexError, match=r"index\[[01]\] is (10|-1), but there are 10 samples"):
            queue(*raw(1, 1), torch.tensor(index))
        assert queue.waiting == 0
        with pytest.raises(ValueError, match="index is missing"):
            queue(*raw(1, 1))

    def test_leaves_the_generator_alone(self, model, data):
        queues = [Accumulator(model, 8, OfClass(1), patience=1), SelectiveBackprop(model, 8)]
        before = torch.get_rng_state()
        for queue in queues:
            queue(*data)
        assert torch.equal(torch.get_rng_state(), before)

    def test_scores_without_a_trace(self, data):
        model = nn.Sequential(nn.Linear(5, C), nn.BatchNorm1d(C), nn.Dropout(0.5))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        SelectiveBackprop(model, 8)(*data)
        assert model.training
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (torch.zeros(2, 4), r"x has rows of shape \[4\] and torch.float32, but .* \[3\]"),
            (torch.zeros(2, 3, dtype=torch.float64), "torch.float64, but those that wait"),
            ((torch.zeros(2, 3),), "x is 1 parts, but the rows that wait are Tensor"),
            ({"a": torch.zeros(2, 3)}, r"x is a mapping of \['a'\], but"),
        ],
    )
    def test_rows_must_be_alike(self, x, message):
        queue = ones(3)
        queue(*raw(1, 1))
        before = queue.state_dict()
        with pytest.raises(ValueError, match=message):
            queue(x, torch.tensor([1, 1]))
        after = queue.state_dict()
        assert str(after) == str(before)

    def test_an_error_counts_no_step(self, data):
        x, y = data
        queue = SelectiveBackprop(nn.Identity(), N, seed=0)
        queue(x[:, :C], y)
        before = str(queue.state_dict())
        with pytest.raises(ValueError, match="logits"):
            queue(x[:, :C] * torch.nan, y)
        assert str(queue.state_dict()) == before

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"n": 0}, ValueError, "n is 0, expected at least 1"),
            ({"seed": "a"}, TypeError, "seed is 'a', expected an integer or None"),
            ({"model": torch.relu}, TypeError, r"expected an nn\.Module"),
            ({"start": After}, TypeError, "expected a start rule"),
            (
                {"start": VarianceReduction()},
                ValueError,
                "VarianceReduction, which learns from tau",
            ),
            ({"label_smoothing": 2.0}, ValueError, "label_smoothing"),
            ({"class_weight": [1.0]}, TypeError, "class_weight"),
            ({"ignore_index": "1"}, TypeError, "ignore_index is '1', expected an integer or None"),
            (
                {"filter": AccuracyFilter},
                TypeError,
                r"expected a filter such as AccuracyFilter\(\)",
            ),
            ({"patience": 0}, ValueError, "patience is 0, expected at least 1"),
            ({"largest_raw_size": 1.5}, TypeError, "largest_raw_size is 1.5, expected an integer"),
        ],
    )
    def test_names_a_wrong_argument(self, model, arguments, error, message):
        arguments = {"model": model, "n": N, "filter": AccuracyFilter()} | arguments
        with pytest.raises(error, match=message):
            Accumulator(**arguments)

    def test_wants_rows(self):
        with pytest.raises(ValueError, match="the raw batch has no rows"):
            ones(3)(torch.zeros(0, C), torch.zeros(0, dtype=torch.int64))


def test_gradients_flow_through_the_rows_of_a_queue(model, data):
    x, y = data
    batch = Accumulator(model, 8, OfClass(1))(x, y)
    batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
