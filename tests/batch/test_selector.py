import os
import subprocess
import sys
import textwrap
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2
from torch import Tensor, nn

import impsamp_fast
from impsamp_fast.batch.draw_rules import LossSplit, TopQuantile
from impsamp_fast.batch.filters import AccuracyFilter, Filter
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After, Always, LossRatio, VarianceReduction
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import RowStats, row_stats, score, select
from tests.reference import select as reference_select
from tests.toy import C, K, N


def seed_of_step(seed: int, step: int) -> int:
    return (seed + step * 0x9E3779B97F4A7C15) % 2**64


class Counted(nn.Module):
    """Counts the rows of each forward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return self.model(x)


@pytest.mark.parametrize("method", ["multinomial", "systematic", "pps"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("correction", ["unbiased", "normalized", "none", 0.5, -14.0])
@pytest.mark.parametrize("scale", [1.0, 1e38])
def test_a_score_of_ones_own_is_drawn_by_as_one_by_name(method, smoothing, correction, scale):
    """1,023 confident rows and a wrong one: the powers of their weights span all of float32."""
    logits = torch.zeros(1024, 2)
    logits[:, 0] = 12.0 + torch.rand(1024)
    logits[700, 0] = -3.0
    y = torch.zeros(1024, dtype=torch.int64)
    y[5::100] = -100
    weight = torch.tensor([scale, scale])
    options = {"method": method, "smoothing": smoothing, "correction": correction, "seed": 3}

    def own(logits, y):
        return impsamp_fast.score(logits, y, class_weight=weight)

    by_name = Selector(nn.Identity(), 64, class_weight=weight, **options)(logits, y)
    by_function = Selector(nn.Identity(), 64, score=own, **options)(logits, y)
    assert torch.equal(by_function.index, by_name.index)
    assert torch.equal(by_function.weight, by_name.weight)
    assert by_name.weight.isfinite().all()


class TestPicking:
    @pytest.mark.parametrize("method", ["multinomial", "stratified", "systematic", "race", "pps"])
    @pytest.mark.parametrize("score", ["loss", "grad_norm", "p_wrong", "margin", "entropy"])
    def test_picks_what_select_picks_from_the_models_logits(self, model, data, score, method):
        x, y = data
        selector = Selector(model, N, score=score, method=method, smoothing=0.1, seed=7)
        for step in range(3):
            batch = selector(x, y)
            expected = select(
                model(x).detach(), y, N, score, method, smoothing=0.1, seed=seed_of_step(7, step)
            )
            assert batch.importance
            assert torch.equal(batch.index, expected.index)
            assert torch.equal(batch.weight, expected.weight)
            assert torch.equal(batch.x, x[batch.index])
            assert torch.equal(batch.y, y[batch.index])

    def test_takes_the_largest_with_topk(self, model, data):
        x, y = data
        batch = Selector(model, N, score="loss", method="topk")(x, y)
        losses = F.cross_entropy(model(x), y, reduction="none")
        assert torch.equal(batch.index, losses.topk(N).indices)

    @pytest.mark.parametrize("correction", ["none", "normalized", 0.5])
    def test_passes_the_correction_on(self, model, data, correction):
        x, y = data
        batch = Selector(model, N, correction=correction, seed=3)(x, y)
        expected = reference_select(model(x).detach(), y, N, correction=correction, seed=3)
        assert torch.equal(batch.index, expected.index)
        torch.testing.assert_close(batch.weight.double(), expected.weight.double())

    def test_scores_with_the_loss_that_is_trained(self, model, data):
        x, y = data
        options = {
            "label_smoothing": 0.2,
            "class_weight": torch.tensor([1.0, 5.0, 0.5]),
            "ignore_index": 2,
        }
        batch = Selector(model, N, seed=3, **options)(x, y)
        expected = select(model(x), y, N, seed=seed_of_step(3, 0), **options)
        torch.testing.assert_close(batch.index, expected.index)
        torch.testing.assert_close(batch.weight, expected.weight)
        assert not (batch.y == 2).any()

    def test_takes_class_probabilities(self, model, data):
        x, _ = data
        y = torch.softmax(torch.randn(K, C), dim=-1)
        batch = Selector(model, N, seed=3)(x, y)
        assert torch.equal(batch.index, select(model(x).detach(), y, N, seed=3).index)
        assert torch.equal(batch.y, y[batch.index])

    def test_gives_the_data_sets_numbers_when_it_has_them(self, model, data):
        x, y = data
        numbers = torch.randperm(1000)[:K]
        rows = Selector(model, N, seed=5)(x, y).index
        batch = Selector(model, N, seed=5)(x, y, numbers)
        assert torch.equal(batch.index, numbers[rows])
        assert torch.equal(batch.x, x[rows])

    def test_gradient_flows_through_the_picked_rows_only(self, model, data):
        x, y = data
        x = x.clone().requires_grad_()
        batch = Selector(model, N)(x, y)
        assert all(parameter.grad is None for parameter in model.parameters())
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
        picked = torch.zeros(K, dtype=torch.bool)
        picked[batch.index] = True
        assert torch.equal(x.grad.abs().sum(-1) > 0, picked)
        assert not batch.weight.requires_grad

    def test_the_mean_estimates_the_large_batchs_mean(self, model, data):
        x, y = data
        losses = F.cross_entropy(model(x), y, reduction="none").detach()
        selector = Selector(model, N, seed=0)
        batches = [selector(x, y) for _ in range(2000)]
        means = torch.stack([batch.mean(losses[batch.index]) for batch in batches]).double()
        error = means.mean() - losses.double().mean()
        # Five standard errors: a false alarm once in two million, if the seed were not fixed.
        assert error.abs() < 5 * means.std() / len(means) ** 0.5

    @pytest.mark.parametrize("start", [None, After(10**9)], ids=["importance", "uniform"])
    def test_the_mean_estimates_the_sum_over_all_rows_by_their_number(self, model, data, start):
        x, y = data
        options = {"class_weight": torch.tensor([1.0, 5.0, 0.5]), "ignore_index": 2}
        losses = F.cross_entropy(
            model(x), y, options["class_weight"], ignore_index=2, reduction="none"
        )
        losses = losses.detach()
        selector = Selector(model, N, start=start, seed=0, **options)
        batches = [selector(x, y) for _ in range(2000)]
        means = torch.stack([batch.mean(losses[batch.index]) for batch in batches]).double()
        error = means.mean() - losses.double().sum() / K
        # Five standard errors: a false alarm once in two million, if the seed were not fixed.
        assert error.abs() < 5 * means.std() / len(means) ** 0.5


class TestDrawRule:
    def test_draws_the_rows(self, model, data):
        x, y = data
        rule = LossSplit(q=4)
        selector = Selector(model, N, score="loss", method=rule, seed=7)
        losses = score(model(x).detach(), y, "loss")
        for step in range(3):
            batch = selector(x, y)
            expected = rule(losses, N, seed_of_step(7, step))
            assert torch.equal(batch.index, expected.index)
            torch.testing.assert_close(batch.weight, N / (K * expected.prob))

    def test_may_return_another_number_of_rows(self, model, data):
        x, y = data
        batch = Selector(model, N, score="loss", method=TopQuantile(0.9))(x, y)
        assert torch.equal(
            batch.index.sort().values, score(model(x), y, "loss").topk(7)[1].sort()[0]
        )
        assert torch.equal(batch.weight, torch.ones(7))
        assert batch.mean(torch.ones(7)).item() == 1

    def test_the_mean_estimates_the_large_batchs_mean(self, model, data):
        x, y = data
        losses = F.cross_entropy(model(x), y, reduction="none").detach()
        selector = Selector(model, N, score="loss", method=LossSplit(q=3), seed=0)
        means = []
        for _ in range(2000):
            batch = selector(x, y)
            means.append(batch.mean(losses[batch.index]))
        means = torch.stack(means).double()
        error = means.mean() - losses.double().mean()
        # Five standard errors: a false alarm once in two million, if the seed were not fixed.
        assert error.abs() < 5 * means.std() / len(means) ** 0.5


class Masked(Filter):
    """Lets pass the rows whose class is in the list."""

    def __init__(self, *classes: int) -> None:
        self.classes = torch.tensor(classes)

    def __call__(self, stats: RowStats, y: Tensor) -> Tensor:
        return torch.isin(y, self.classes)


class TestFilter:
    @pytest.mark.parametrize("method", ["multinomial", "race", "topk", LossSplit()])
    def test_leaves_a_smaller_large_batch(self, model, data, method):
        x, y = data
        filtered = Selector(model, 8, score="loss", method=method, filter=Masked(0, 1), seed=3)
        plain = Selector(model, 8, score="loss", method=method, seed=3)
        pool = (y < 2).nonzero().squeeze(1)
        for _ in range(3):
            batch, expected = filtered(x, y), plain(x[pool], y[pool])
            assert torch.equal(batch.index, pool[expected.index])
            torch.testing.assert_close(batch.weight, expected.weight)
            assert torch.equal(batch.x, x[batch.index])

    def test_is_filled_up_with_random_rows(self, model, data):
        x, y = data
        y = torch.where(torch.arange(K) < 5, 0, 1 + y % 2)
        selector = Selector(
            model, N, score="loss", method="topk", filter=Masked(0), ignore_index=2, seed=3
        )
        others = []
        for _ in range(3):
            batch = selector(x, y)
            rows = batch.index.tolist()
            assert len(set(rows)) == N
            assert {0, 1, 2, 3, 4} < set(rows)
            assert not (batch.y == 2).any()
            others.append(set(rows))
        assert others[0] != others[1] != others[2]

    def test_sees_the_loss_that_is_trained(self, model, data):
        x, y = data
        options = {"label_smoothing": 0.2, "class_weight": torch.tensor([1.0, 5.0, 0.5])}
        seen = []

        class Seeing(Filter):
            def __call__(self, stats: RowStats, target: Tensor) -> Tensor:
                assert target is y
                seen.append(stats)
                return stats.loss > 0

        Selector(model, N, filter=Seeing(), **options)(x, y)
        for found, expected in zip(seen[0], row_stats(model(x), y, **options), strict=True):
            torch.testing.assert_close(found, expected)

    def test_goes_with_the_last_layer(self, model, data):
        x, y = data
        pool = (y < 2).nonzero().squeeze(1)
        filtered = Selector(model, 8, score="last_layer", filter=Masked(0, 1), seed=3)
        expected = Selector(model, 8, score="last_layer", seed=3)(x[pool], y[pool])
        assert torch.equal(filtered(x, y).index, pool[expected.index])

    def test_is_not_asked_in_uniform_steps(self, model, data):
        batch = Selector(model, N, filter=Masked(0), start=After(1), seed=0)(*data)
        assert set(batch.y.tolist()) == {0, 1, 2}


class TestNoTargets:
    @pytest.mark.parametrize(
        "arguments",
        [{}, {"score": lambda z, y: torch.ones(K)}, {"method": LossSplit()}, {"filter": Masked(0)}],
        ids=lambda arguments: "".join(arguments),
    )
    def test_are_an_error(self, model, data, arguments):
        x, y = data
        with pytest.raises(ValueError, match=r"is ignore_index \(-100\) in every row"):
            Selector(model, N, **arguments)(x, torch.full_like(y, -100))


class TestBatches:
    def test_are_those_of_calls(self, model, data):
        x, y = data
        numbers = torch.randperm(1000)[:K]
        called, iterated = Selector(model, N, seed=3), Selector(model, N, seed=3)
        expected = [called(x, y), called(x, y, numbers)]
        found = list(iterated.batches([(x, y), [x, y, numbers]]))
        assert len(found) == 2
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.index, other.index)
        assert iterated.raw_size is None

    @pytest.mark.parametrize(
        ("item", "error", "message"),
        [
            (torch.zeros(3), TypeError, r"the loader yields Tensor, expected \(x, y\)"),
            ((1,), ValueError, r"the loader yields 1 values, expected \(x, y\)"),
            ((1, 2, 3, 4), ValueError, "the loader yields 4 values"),
        ],
    )
    def test_names_what_is_none(self, model, item, error, message):
        with pytest.raises(error, match=message):
            next(Selector(model, N).batches([item]))


class TestUniformSteps:
    def test_draws_without_repeats_or_weights_or_scoring(self, model, data):
        x, y = data
        counted = Counted(model)
        selector = Selector(counted, N, start=After(20), seed=1)
        for _ in range(20):
            batch = selector(x, y)
            assert not batch.importance
            assert batch.index.unique().numel() == N
            assert torch.equal(batch.x, x[batch.index])
            assert torch.equal(batch.weight, torch.ones(N))
        assert counted.rows == [N]  # in the first call, to see whether they can be scored
        assert selector(x, y).importance
        assert counted.rows == [N, K]

    def test_picks_every_row_equally_often(self, model, data):
        x, y = data
        counts = PickCounts(K)
        selector = Selector(model, N, start=After(10**9), counts=counts, seed=2)
        steps = 4000
        for _ in range(steps):
            selector(x, y)
        p = N / K
        deviation = (counts.counts.double() - steps * p) ** 2 / (steps * p * (1 - p))
        # Rows drawn without replacement are negatively correlated; scaled by (K - 1) / K the sum is
        # chi-squared with K - 1 degrees of freedom. A false alarm once in a million.
        assert deviation.sum() * (K - 1) / K < chi2.isf(1e-6, K - 1)

    def test_may_take_the_whole_large_batch(self, model, data):
        x, y = data
        batch = Selector(model, K, start=After(1))(x, y)
        assert torch.equal(batch.index.sort().values, torch.arange(K))

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_have_float32_weights_whatever_the_default(self, model, data, dtype):
        expected = Selector(model, N, start=After(1), seed=1)(*data)
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            batch = Selector(model, N, start=After(1), seed=1)(*data)
        finally:
            torch.set_default_dtype(default)
        assert batch.weight.dtype == torch.float32
        assert torch.equal(batch.index, expected.index)


Pair = namedtuple("Pair", ["left", "right"])


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, C)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.layer(left - 2 * right)


class Nested(TwoInputs):
    def forward(self, pair: dict[str, Tensor], others: list[Tensor]) -> Tensor:
        return super().forward(pair["left"], others[0])


class TestStructures:
    @pytest.mark.parametrize(
        "pack",
        [
            lambda left, right: (left, right),
            lambda left, right: [left, right],
            Pair,
            lambda left, right: {"right": right, "left": left},
        ],
        ids=["tuple", "list", "namedtuple", "dict"],
    )
    def test_are_passed_to_the_model_and_kept(self, data, pack):
        left, y = data
        right = torch.randn(K, 5)
        model = TwoInputs()
        x = pack(left, right)
        batch = Selector(model, N, seed=1)(x, y)
        rows = select(model(left, right).detach(), y, N, seed=1).index
        assert torch.equal(batch.index, rows)
        assert type(batch.x) is type(x)
        expected = pack(left[rows], right[rows])
        if isinstance(x, dict):
            assert list(batch.x) == list(x)
            expected, picked = expected.values(), batch.x.values()
        else:
            picked = batch.x
        assert all(torch.equal(a, b) for a, b in zip(picked, expected, strict=True))

    def test_a_mapping_comes_back_as_a_dict(self, data):
        left, y = data
        x = OrderedDict(right=torch.randn(K, 5), left=left)
        batch = Selector(TwoInputs(), N)(x, y)
        assert type(batch.x) is dict
        assert list(batch.x) == ["right", "left"]
        assert torch.equal(batch.x["left"], left[batch.index])

    def test_may_be_nested(self, data):
        left, y = data
        right = torch.randn(K, 5)
        batch = Selector(Nested(), N)(({"left": left}, [right]), y)
        assert torch.equal(batch.x[0]["left"], left[batch.index])
        assert torch.equal(batch.x[1][0], right[batch.index])


class TestMean:
    def test_weighs_each_loss(self, model, data):
        batch = Selector(model, N)(*data)
        losses = torch.rand(N)
        expected = (losses.double() * batch.weight.double()).sum() / N
        torch.testing.assert_close(batch.mean(losses).double(), expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_adds_half_precision_up_in_single(self, model, data, dtype):
        batch = Selector(model, N)(*data)
        losses = torch.rand(N).to(dtype).requires_grad_()
        loss = batch.mean(losses)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, (losses.float() * batch.weight).mean())
        loss.backward()
        assert losses.grad.dtype == dtype

    @pytest.mark.parametrize("shape", [(), (1,), (N - 1,), (N, 1), (K,)])
    def test_wants_one_loss_per_row(self, model, data, shape):
        batch = Selector(model, N)(*data)
        with pytest.raises(ValueError, match=r'losses has shape .*expected \[16\].*"none"'):
            batch.mean(torch.zeros(shape))

    @pytest.mark.parametrize("losses", [1.0, [1.0] * N, torch.zeros(N).long()])
    def test_wants_a_floating_point_tensor(self, model, data, losses):
        batch = Selector(model, N)(*data)
        with pytest.raises(TypeError, match=r"losses is .*, expected a floating-point tensor"):
            batch.mean(losses)


class TestStartRules:
    def test_a_loss_ratio_hears_the_mean_of_each_mini_batch_once(self, model, data):
        rule = LossRatio(0.5)
        selector = Selector(model, N, start=rule)
        heard = []
        for loss in (4.0, 3.0, 1.0):
            batch = selector(*data)
            heard.append(batch.importance)
            batch.mean(torch.full((N,), loss))
            batch.mean(torch.zeros(N))  # another quantity of the same batch
        assert heard == [False, False, False]
        assert rule.state_dict() == {"started": True, "first": 4.0, "unread": []}
        assert selector(*data).importance

    def test_a_loss_ratio_that_hears_nothing_says_so(self, model, data):
        selector = Selector(model, N, start=LossRatio(0.5))
        with pytest.raises(RuntimeError, match=r"batch\.mean\(losses\)"):
            for _ in range(101):
                selector(*data)

    @pytest.mark.parametrize("method", ["multinomial", "systematic", "race", "pps", "topk"])
    def test_variance_reduction_hears_the_rows_that_were_scored(self, model, data, method):
        x, y = data
        counted = Counted(model)
        rule = VarianceReduction(threshold=0.6, momentum=0.5)
        selector = Selector(counted, N, method=method, start=rule, smoothing=0.2, seed=0)
        average = 0.0
        for step in range(4):
            batch = selector(x, y)
            scored = slice(None) if batch.importance else batch.index
            logits = model(x[scored]).detach()
            tau = reference_select(logits, y[scored], 1, smoothing=0.2, seed=0).tau.item()
            assert batch.importance == (average > 0.6)
            average = 0.5 * average + 0.5 * tau
            assert rule.state_dict()["average"] == pytest.approx(average, rel=1e-5)
            assert counted.rows[step] == (K if batch.importance else N)
        assert batch.importance

    def test_variance_reduction_learns_nothing_where_all_rows_are_ignored(self, model, data):
        x, y = data
        counted = Counted(model)
        rule = VarianceReduction()
        selector = Selector(counted, N, start=rule, ignore_index=2, seed=0)
        batch = selector(x, torch.full_like(y, 2))
        assert batch.index.unique().numel() == N
        assert counted.rows == []
        assert rule.state_dict() == {"average": 0.0, "unread": []}
        selector(x, y)
        assert counted.rows == [N]
        assert rule.state_dict()["average"] > 0

    def test_a_loss_ratio_waits_for_a_mini_batch_that_has_targets(self, model, data):
        x, y = data
        rule = LossRatio(0.5)
        selector = Selector(model, N, start=rule, seed=0)
        for target in (torch.full_like(y, -100), y):
            batch = selector(x, target)
            loss = batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))
        assert rule.state_dict() == {"started": False, "first": loss.item(), "unread": []}

    def test_always_is_the_default(self, model, data):
        assert Selector(model, N)(*data).importance
        assert Selector(model, N, start=Always())(*data).importance


class TestCounts:
    def test_counts_the_data_sets_samples(self, model, data):
        counts = PickCounts(1000)
        selector = Selector(model, N, counts=counts)
        expected = torch.zeros(1000, dtype=torch.int64)
        for _ in range(5):
            index = selector(*data, torch.randperm(1000)[:K]).index
            expected += torch.bincount(index, minlength=1000)
        assert torch.equal(counts.counts, expected)

    def test_needs_the_numbers_of_the_rows(self, model, data):
        with pytest.raises(ValueError, match=r"index is missing.*call selector\(x, y, index\)"):
            Selector(model, N, counts=PickCounts(1000))(*data)

    def test_a_number_out_of_range_counts_no_step(self, model, data):
        selector = Selector(model, N, counts=PickCounts(K), start=VarianceReduction(), seed=0)
        before = selector.state_dict()
        with pytest.raises(IndexError, match="but there are 64 samples"):
            selector(*data, torch.arange(K) + K)
        after = selector.state_dict()
        assert torch.equal(after["counts"].pop("counts"), before["counts"].pop("counts"))
        assert after == before


class TestTraining:
    def test_autocast(self, model, data):
        x, y = data
        selector = Selector(model, N, seed=0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            batch = selector(x, y)
            logits = model(batch.x)
            batch.mean(F.cross_entropy(logits, batch.y, reduction="none")).backward()
        # Scoring casts the weights without a graph; training must not reuse these casts.
        actual = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            expected = select(model(x).detach(), y, N, seed=0)
        assert torch.equal(batch.index, expected.index)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            (losses * batch.weight).mean().backward()
        for gradient, parameter in zip(actual, model.parameters(), strict=True):
            assert torch.equal(gradient, parameter.grad)

    def test_gradient_accumulation(self, model, data):
        x, y = data
        selector = Selector(model, N, seed=0)
        batches = []
        for _ in range(4):
            batch = selector(x, y)
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            (batch.mean(losses) / 4).backward()
            batches.append(batch)
        accumulated = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        joint_x, joint_y = (torch.cat([getattr(batch, name) for batch in batches]) for name in "xy")
        weight = torch.cat([batch.weight for batch in batches])
        (F.cross_entropy(model(joint_x), joint_y, reduction="none") * weight).mean().backward()
        for gradient, parameter in zip(accumulated, model.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad)

    def test_data_loader_workers(self, model):
        x, y = torch.randn(200, 5), torch.randint(C, (200,))
        samples = torch.utils.data.TensorDataset(x, y, torch.arange(200))
        loader = torch.utils.data.DataLoader(
            samples, batch_size=K, shuffle=True, num_workers=2, drop_last=True
        )
        counts = PickCounts(200)
        selector = Selector(model, N, counts=counts)
        for inputs, target, index in loader:
            batch = selector(inputs, target, index)
            assert torch.equal(batch.x, x[batch.index])
            assert torch.equal(batch.y, y[batch.index])
        assert counts.counts.sum() == 3 * N


class TestSeed:
    def test_decides_the_rows_and_leaves_the_generator_alone(self, model, data):
        before = torch.get_rng_state()
        first, second = Selector(model, N, seed=9), Selector(model, N, seed=9)
        for _ in range(3):
            torch.rand(5)
            assert torch.equal(first(*data).index, second(*data).index)
        torch.set_rng_state(before)
        Selector(model, N, seed=9)(*data)
        assert torch.equal(torch.get_rng_state(), before)

    def test_is_taken_from_torchs_generator_when_not_given(self, model, data):
        picks = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            picks.append(Selector(model, N)(*data).index.tolist())
        assert picks[0] == picks[1] != picks[2]

    def test_neighbours_share_no_step(self, model, data):
        picks = set()
        for seed in range(5):
            selector = Selector(model, N, seed=seed)
            picks |= {tuple(selector(*data).index.tolist()) for _ in range(5)}
        assert len(picks) == 25

    @pytest.mark.parametrize("seed", [-(2**63), -1, 2**64 - 1])
    def test_may_be_any_64_bit_integer(self, model, data, seed):
        selector = Selector(model, N, seed=seed)
        rows = [selector(*data).index.tolist() for _ in range(2)]
        assert rows[0] != rows[1]

    def test_may_be_numpys(self, model, data):
        seed = np.int32(9)
        selector = Selector(model, N, seed=seed)
        assert selector.seed is seed
        assert type(selector.state_dict()["seed"]) is int
        for step in range(2):
            expected = select(model(data[0]), data[1], N, seed=seed_of_step(9, step))
            assert torch.equal(selector(*data).index, expected.index)

    @pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64])
    def test_but_no_larger(self, model, seed):
        with pytest.raises(ValueError, match=f"seed is {seed}, expected"):
            Selector(model, N, seed=seed)


RUN = textwrap.dedent(
    """
    import os, signal, sys
    import torch
    import torch.nn.functional as F
    from torch import nn
    from impsamp_fast.dataset.pick_counts import PickCounts
    from impsamp_fast.batch.selector import Selector
    from impsamp_fast.batch.start import LossRatio

    checkpoint, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(first)  # another process starts with other random numbers
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.1), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    selector = Selector(model, 16, start=LossRatio(0.8), counts=PickCounts(200), dropout=True)
    parts = {"model": model, "optimizer": optimizer, "selector": selector}
    if first:
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
    for step in range(first, last):
        data = torch.Generator().manual_seed(step)
        index = torch.randint(200, (64,), generator=data)
        x = torch.randn(64, 2, generator=data)
        y = (x.norm(dim=1) > 1.2).long()
        batch = selector(x, y, index)
        optimizer.zero_grad()
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
        optimizer.step()
        print(step, batch.importance, *batch.index.tolist(), flush=True)
    state = {name: part.state_dict() for name, part in parts.items()}
    print(selector.counts.counts.tolist(), flush=True)
    torch.save(state | {"random": torch.get_rng_state()}, checkpoint)
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


class TestResuming:
    def test_a_killed_run_picks_the_same_rows_in_a_new_process(self, tmp_path):
        def start(checkpoint: str, first: int, last: int) -> subprocess.Popen:
            return subprocess.Popen(
                [sys.executable, "-c", RUN, tmp_path / checkpoint, str(first), str(last)],
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                text=True,
            )

        whole, killed = start("whole", 0, 60), start("killed", 0, 25)
        first_part = killed.communicate()[0].splitlines()
        second_part = start("killed", 25, 60).communicate()[0].splitlines()
        expected = whole.communicate()[0].splitlines()
        assert len(expected) == 61
        assert first_part[:-1] + second_part == expected
        # It was killed in the uniform phase, so that the start rule's memory mattered.
        assert "False" in second_part[0]
        assert "True" in second_part[-2]

    def test_loading_changes_nothing_unless_all_fits(self, model, data):
        def make(**arguments) -> Selector:
            return Selector(model, N, **{"start": LossRatio(0.5), "seed": 0} | arguments)

        selector = make(counts=PickCounts(K))
        selector(*data).mean(torch.ones(N))
        state = selector.state_dict()
        misfits = [
            (make(counts=PickCounts(K), start=VarianceReduction()), KeyError, "VarianceReduction"),
            (make(counts=PickCounts(K + 1)), ValueError, "has size 65"),
            (make(), ValueError, "the state counts picks and this selector does not"),
        ]
        for other, error, message in misfits:
            before = other.state_dict()
            with pytest.raises(error, match=message):
                other.load_state_dict(state)
            after = other.state_dict()
            for saved in (before, after):
                if saved["counts"] is not None:
                    saved["counts"] = saved["counts"]["counts"].tolist()
            assert after == before

        with pytest.raises(ValueError, match="this selector counts picks and the state does not"):
            selector.load_state_dict(make().state_dict())
        with pytest.raises(KeyError, match="expected seed, step, faulty_rows, pool, start and "):
            selector.load_state_dict(model.state_dict())

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"seed": 1.5}, TypeError, "the state's seed is 1.5, expected an int"),
            ({"seed": None}, TypeError, "the state's seed is None, expected an int"),
            ({"step": "3"}, TypeError, "the state's step is '3', expected an int"),
            ({"step": -1}, ValueError, "the state's step is -1, expected at least 0"),
        ],
    )
    def test_a_state_with_another_seed_or_step_changes_nothing(
        self, model, data, change, error, message
    ):
        selector, other = (Selector(model, N, start=LossRatio(0.5), seed=seed) for seed in (0, 1))
        other(*data).mean(torch.ones(N))
        before = selector.state_dict()
        with pytest.raises(error, match=message):
            selector.load_state_dict(other.state_dict() | change)
        assert selector.state_dict() == before


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"n": 0}, ValueError, "n is 0, expected at least 1"),
            ({"n": 12.5}, TypeError, "n is 12.5, expected an integer"),
            ({"seed": 1.5}, TypeError, "seed is 1.5, expected an integer or None"),
            ({"seed": "1"}, TypeError, "seed is '1', expected an integer or None"),
            ({"score": "foo"}, ValueError, "foo"),
            ({"method": "foo"}, ValueError, "foo"),
            ({"correction": "foo"}, ValueError, "foo"),
            ({"smoothing": 1.5}, ValueError, "smoothing"),
            ({"score": 3}, TypeError, "score is 3, expected a str or a function"),
            ({"score": nn.Linear}, TypeError, "expected a str or a function"),
            ({"method": LossSplit}, TypeError, r"expected a str or a rule such as LossSplit\(\)"),
            ({"method": LossSplit(), "correction": "foo"}, ValueError, "foo"),
            ({"score": torch.rand, "smoothing": 1.5}, ValueError, "smoothing"),
            (
                {"filter": AccuracyFilter},
                TypeError,
                r"expected a filter such as AccuracyFilter\(\)",
            ),
            ({"layer": 3, "score": "last_layer"}, TypeError, "layer is 3, expected a str"),
            ({"layer": "2"}, ValueError, "layer is '2', but only score \"last_layer\""),
            (
                {"small_batch": "drop"},
                ValueError,
                "small_batch is 'drop', expected one of",
            ),
            ({"ignore_index": 0.5}, TypeError, "ignore_index is 0.5, expected an integer or None"),
            ({"start": After}, TypeError, "expected a start rule"),
            ({"start": 100}, TypeError, "start is 100, expected a start rule"),
            ({"model": torch.relu}, TypeError, r"expected an nn\.Module"),
        ],
    )
    def test_of_the_constructor_is_found_at_once(self, model, arguments, error, message):
        with pytest.raises(error, match=message):
            Selector(**{"model": model, "n": N, "start": After(100)} | arguments)

    def test_stores_arguments_unchanged(self, model):
        arguments = {
            "score": "loss",
            "method": "race",
            "correction": 0.5,
            "smoothing": 0.25,
            "filter": AccuracyFilter(0.1),
            "start": None,
            "dropout": True,
            "small_batch": "skip",
            "counts": PickCounts(3),
            "label_smoothing": 0.1,
            "class_weight": None,
            "ignore_index": None,
            "seed": None,
        }
        selector = Selector(model, N, **arguments)
        assert selector.model is model
        assert selector.n == N
        assert {name: getattr(selector, name) for name in arguments} == arguments

    @pytest.mark.parametrize(
        ("x", "y", "error", "message"),
        [
            (torch.zeros(8, 5), torch.zeros(7), ValueError, r"x has shape \[8, 5\], but y has 7"),
            ({"a": torch.zeros(3)}, torch.zeros(4), ValueError, r"x\['a'\] has shape \[3\]"),
            ((torch.zeros(4), [torch.zeros(())]), torch.zeros(4), ValueError, r"x\[1\]\[0\] has"),
            ((torch.zeros(4), "text"), torch.zeros(4), TypeError, r"x\[1\] is str, expected"),
            (torch.zeros(4, 5), [1, 2], TypeError, "y is list, expected a tensor"),
            (torch.zeros(4, 5), torch.tensor(1), ValueError, "y is a scalar"),
        ],
    )
    def test_of_a_call_is_named(self, model, x, y, error, message):
        with pytest.raises(error, match=message):
            Selector(model, 2)(x, y)

    @pytest.mark.parametrize(
        ("index", "error", "message"),
        [
            (torch.zeros(K - 1), ValueError, r"index has shape \[63\], expected \[64\]"),
            (torch.zeros(K, 1), ValueError, r"index has shape \[64, 1\], expected \[64\]"),
            (list(range(K)), TypeError, "index is list, expected a tensor"),
        ],
    )
    def test_of_the_index_is_named(self, model, data, index, error, message):
        with pytest.raises(error, match=message):
            Selector(model, N)(*data, index)

    def test_a_large_batch_smaller_than_n(self, model, data):
        x, y = data
        with pytest.raises(ValueError, match=r"n is 65, but the large batch .* 64 rows.*drop_last"):
            Selector(model, K + 1)(x, y)

    @pytest.mark.parametrize(
        ("forward", "error", "message"),
        [
            (
                lambda x: x.reshape(K // 2, 2, 5),
                ValueError,
                r"shape \[32, 2, 5\], expected \[64, C",
            ),
            (lambda x: x.unsqueeze(1), ValueError, r"shape \[64, 1, 5\], expected \[64, C\]"),
            (lambda x: x[:9], ValueError, r"logits of shape \[9, 5\], expected \[64, C\]"),
            (
                lambda x: (x[0], 1),
                TypeError,
                "the model returned tuple, expected a tensor of logits",
            ),
            (lambda x: x * torch.nan, ValueError, "logits"),
        ],
    )
    def test_of_the_model_is_named_and_counts_no_step(self, data, forward, error, message):
        model = nn.Module()
        model.forward = forward
        selector = Selector(model, N)
        before = selector.state_dict()
        with pytest.raises(error, match=message):
            selector(*data)
        assert selector.state_dict() == before
