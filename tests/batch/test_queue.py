"""Queues: which rows they keep, in which order they come out, and how they continue."""

import io
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2, percentileofscore
from torch import Tensor, nn

from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.draw_rules import keep_each
from impsamp_fast.batch.filters import AccuracyFilter, Filter
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.selective_backprop import SelectiveBackprop, percentile_rank
from impsamp_fast.batch.start import After, LossRatio, VarianceReduction
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import RowStats, row_stats
from tests.toy import C, K, N

FALSE_ALARM = 1e-6


def seed_of_step(seed: int, step: int) -> int:
    return (seed + step * 0x9E3779B97F4A7C15) % 2**64


class OfClass(Filter):
    """Lets pass the rows of one class."""

    def __init__(self, y: int) -> None:
        self.y = y

    def __call__(self, stats: RowStats, y: Tensor) -> Tensor:
        return y == self.y


def raw(*classes: int) -> tuple[Tensor, Tensor]:
    """A raw batch of these classes; x is its logits, all equal."""
    y = torch.tensor(classes)
    return torch.zeros(len(y), C), y


def ones(n: int, **options) -> Accumulator:
    """Collects the rows of class 1 of raw batches that are logits."""
    return Accumulator(nn.Identity(), n, OfClass(1), **options)


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


class TestAccumulator:
    def test_sizes_the_next_raw_batch_by_what_passed_lately(self):
        queue = ones(8)
        assert queue.raw_size == 8  # nothing is known yet
        queue(*raw(1, 0, 0, 0))
        assert queue.raw_size == 7 * 4
        queue(*raw(1, 1, 1, 1))  # now 5 of 8
        assert queue.raw_size == math.ceil(3 * 8 / 5)
        for _ in range(16):  # a while ago counts no more
            queue(*raw(1))
        assert queue.raw_size == 8 - queue.waiting

    def test_the_loop_of_the_docstring_asks_for_no_empty_raw_batch(self):
        accumulator = ones(2)
        raw_sizes, found = [], []
        for _ in range(8):
            batch = accumulator.pop()
            if batch is None:
                raw_sizes.append(accumulator.raw_size)
                batch = accumulator(*raw(*[1, 1, 1, 0, 1, 1]))
            if batch is not None:
                found.append(batch.index.tolist())
        assert min(raw_sizes) >= 1
        assert len(raw_sizes) < len(found) == 8
        assert found[:3] == [[0, 1], [2, 4], [5, 6]]

    def test_bounds_it(self):
        queue = ones(8)
        queue(*raw(*[0] * 100))
        assert queue.raw_size == 64
        assert ones(8, largest_raw_size=20).raw_size == 8
        queue = ones(8, largest_raw_size=20)
        queue(*raw(0, 0, 0))
        assert queue.raw_size == 20

    def test_is_filled_up_when_patience_is_over(self):
        queue = ones(4, patience=3, seed=1)
        assert queue(*raw(1, 0, 0, 0, 0)) is None
        assert queue(*raw(0, 0, 0, 0, 0)) is None
        batch = queue(*raw(0, 0, 1, 0, 0, 0, 0))
        rows = batch.index.tolist()
        assert rows[:2] == [0, 12]
        assert len(set(rows)) == 4
        assert set(rows[2:]) <= set(range(10, 17)) - {12}
        # It begins anew.
        assert queue(*raw(0, 0, 0, 0, 0)) is None
        assert queue(*raw(0, 0, 0, 0, 0)) is None
        assert queue(*raw(0, 0, 0, 0, 0)).index.numel() == 4

    def test_is_filled_with_each_row_equally_often(self):
        draws, picks = 4000, torch.zeros(8, dtype=torch.float64)
        for seed in range(draws):
            picks[ones(4, patience=1, seed=seed)(*raw(1, 0, 0, 0, 0, 0, 0, 0)).index] += 1
        assert picks[0] == draws
        p = 3 / 7
        deviation = ((picks[1:] - draws * p) ** 2 / (draws * p * (1 - p))).sum()
        # Without replacement: chi-squared with 6 degrees of freedom after scaling by 6 / 7.
        assert deviation * 6 / 7 < chi2.isf(FALSE_ALARM, 6)

    def test_waits_longer_if_even_that_is_too_few(self):
        queue = ones(4, patience=1)
        assert queue(*raw(0, 0)) is None
        assert sorted(queue(*raw(0, 0)).index.tolist()) == [0, 1, 2, 3]

    def test_never_keeps_ignored_rows(self):
        queue = ones(2, patience=1, ignore_index=1)
        assert queue(*raw(1, 1, 0)) is None
        assert queue(*raw(1, 1, 0)).index.tolist() == [2, 5]

    def test_ignores_nothing_if_told_so(self):
        queue = ones(2, ignore_index=None)
        assert queue(*raw(1, 1, 0)).index.tolist() == [0, 1]
        with pytest.raises(IndexError, match="is -100"):
            queue(*raw(-100, 1))

    def test_filters_by_the_loss_that_is_trained(self, model, data):
        x, y = data
        options = {"label_smoothing": 0.2, "class_weight": torch.tensor([1.0, 5.0, 0.5])}

        class Expected(Filter):
            def __call__(self, stats: RowStats, target: Tensor) -> Tensor:
                for found, expected in zip(stats, row_stats(model(x), y, **options), strict=True):
                    torch.testing.assert_close(found, expected)
                return stats.loss > 2

        queue = Accumulator(model, K, Expected(), **options)
        queue(x, y)
        assert queue.waiting == (row_stats(model(x), y, **options).loss > 2).sum()


def known_losses(*losses: float) -> tuple[Tensor, Tensor]:
    """A raw batch whose rows, as logits, have these losses."""
    p = torch.tensor(losses, dtype=torch.float64).neg().exp()
    return torch.stack([p.log(), (1 - p).log()], dim=1), torch.zeros(len(p), dtype=torch.int64)


class TestSelectiveBackprop:
    def probabilities(self, history: list[float], losses: list[float], beta: float) -> Tensor:
        """By the definition, the losses of the raw batch in the history."""
        return torch.tensor(
            [(percentileofscore(history, loss, kind="rank") / 100) ** beta for loss in losses]
        )

    @pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
    def test_keeps_with_the_probability_of_the_formula(self, beta):
        generator = torch.Generator().manual_seed(1)
        queue = SelectiveBackprop(nn.Identity(), 10**6, beta=beta, history=20, seed=9)
        seen: list[float] = []
        kept: list[int] = []
        for step in range(12):
            losses = (1 + torch.rand(7, generator=generator)).tolist()
            seen += losses
            queue(*known_losses(*losses))
            prob = self.probabilities(seen[-20:], losses, beta)
            rows = keep_each(prob, seed_of_step(9, step)).nonzero().squeeze(1)
            kept += (7 * step + rows).tolist()
        assert queue.state_dict()["rows"][2].tolist() == kept
        assert (len(kept) == 84) == (beta == 0)

    def test_a_raw_batch_by_hand(self):
        # Of 4 losses the first is the lowest, the third the second lowest, and so on.
        expected = torch.tensor([0.25, 1.0, 0.5, 0.75])
        draws, kept = 4000, torch.zeros(4)
        for seed in range(draws):
            queue = SelectiveBackprop(nn.Identity(), 10**6, seed=seed)
            queue(*known_losses(0.1, 3.0, 0.2, 0.7))
            rows = queue.state_dict()["rows"][2]
            kept[rows] += 1
        assert kept[1] == draws
        kept, p = kept[[0, 2, 3]], expected[[0, 2, 3]]
        deviation = ((kept - draws * p) ** 2 / (draws * p * (1 - p))).sum()
        assert deviation < chi2.isf(FALSE_ALARM, 3)

    @pytest.mark.parametrize("history", [50, 1000])
    def test_equal_losses_share_their_rank(self, history):
        draws, kept = 2000, torch.zeros(50)
        for seed in range(draws):
            queue = SelectiveBackprop(nn.Identity(), 10**6, history=history, seed=seed)
            queue(*known_losses(*[0.5] * 50))
            kept[queue.state_dict()["rows"][2]] += 1
        p = percentileofscore([0.5] * 50, 0.5, kind="rank") / 100
        deviation = ((kept - draws * p) ** 2 / (draws * p * (1 - p))).sum()
        assert deviation < chi2.isf(FALSE_ALARM, 50)

    def test_ranks_are_scipys_whatever_the_ties(self):
        generator = torch.Generator().manual_seed(1)
        for size in (1, 2, 7, 40):
            history, losses = (torch.randint(5, (n,), generator=generator) for n in (size, 30))
            expected = [percentileofscore(history, loss, kind="rank") / 100 for loss in losses]
            found = percentile_rank(history.float(), losses.float())
            torch.testing.assert_close(found.double(), torch.tensor(expected, dtype=torch.float64))

    def test_a_model_that_starts_with_equal_outputs_is_trained(self):
        x, y = torch.randn(256, 4), torch.randint(C, (256,))
        model = nn.Linear(4, C)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        queue = SelectiveBackprop(model, 16, seed=0)
        batches = list(queue.batches(zip(x.split(64), y.split(64), strict=True)))
        # 130 of 256 rows are expected.
        assert 6 <= len(batches) <= 10

    def test_remembers_the_last_losses_of_a_large_raw_batch(self):
        queue = SelectiveBackprop(nn.Identity(), 10**6, history=3, seed=0)
        queue(*known_losses(9.0, 8.0, 1.0, 2.0, 3.0))
        # 8 and 9 are above all of the last three.
        assert {0, 1} <= set(queue.state_dict()["rows"][2].tolist())
        torch.testing.assert_close(
            queue.state_dict()["memory"]["losses"], torch.tensor([1.0, 2.0, 3.0])
        )

    @pytest.mark.parametrize("beta", [0.0, 1.0])
    def test_rows_without_a_target_are_neither_remembered_nor_kept(self, beta):
        x, y = known_losses(0.1, 3.0, 0.2, 0.7)
        every, some = (SelectiveBackprop(nn.Identity(), 10**6, beta=beta, seed=3) for _ in range(2))
        every(x, y)
        # The same four rows, and as many without a target after them.
        some(torch.cat([x, x + 1]), torch.cat([y, torch.full((4,), -100)]))
        found, expected = some.state_dict(), every.state_dict()
        assert torch.equal(found["memory"]["losses"], expected["memory"]["losses"])
        rows = found["rows"][2].tolist()
        assert set(rows) <= {0, 1, 2, 3}
        assert len(rows) == 4 or beta > 0

    def test_a_raw_batch_without_a_target_changes_nothing(self):
        queue = SelectiveBackprop(nn.Identity(), 10**6, beta=0)
        x, y = known_losses(0.1, 3.0)
        for _ in range(2):  # with an empty history, and with one
            before = queue.state_dict()
            assert queue(x, torch.full((2,), -100)) is None
            after = queue.state_dict()
            assert torch.equal(after["memory"]["losses"], before["memory"]["losses"])
            assert queue.waiting == (0 if before["rows"] is None else len(before["rows"][1]))
            queue(x, y)

    def test_class_probabilities_are_all_targets(self):
        queue = SelectiveBackprop(nn.Identity(), 10**6, beta=0)
        x, _ = known_losses(0.1, 3.0)
        queue(x, torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=x.dtype))
        assert queue.waiting == queue.state_dict()["memory"]["losses"].numel() == 2

    def test_takes_raw_batches_of_n(self):
        queue = SelectiveBackprop(nn.Identity(), 4, start=After(9))
        assert queue.raw_size == 4
        queue(*known_losses(*[0.5] * 8))
        assert queue.raw_size == 0
        queue.pop()
        assert queue.raw_size == 4

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"beta": -1}, ValueError, "beta is -1, expected a number with 0 <= beta"),
            ({"beta": math.inf}, ValueError, "beta is inf, expected a number with 0 <= beta"),
            ({"beta": "1"}, TypeError, "beta is '1', expected a number"),
            ({"history": 0}, ValueError, "history is 0, expected at least 1"),
        ],
    )
    def test_names_a_wrong_argument(self, model, arguments, error, message):
        with pytest.raises(error, match=message):
            SelectiveBackprop(model, N, **arguments)


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


def test_gradients_flow_through_the_rows_of_a_queue(model, data):
    x, y = data
    batch = Accumulator(model, 8, OfClass(1))(x, y)
    batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
