"""A selector picks the rows that its parts say, and gives them their weights."""

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2
from torch import Tensor, nn

import impsamp_fast
from impsamp_fast.batch.draw_rules import LossSplit, TopQuantile
from impsamp_fast.batch.filters import Filter
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import RowStats, row_stats, score, select
from tests.reference import select as reference_select
from tests.toy import C, Counted, K, N, seed_of_step


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

    def test_tells_the_scores_that_it_draws_by(self, model, data):
        x, y = data
        selector = Selector(model, N, score="grad_norm", smoothing=0.1, seed=3)
        expected = score(model(x), y, "grad_norm").detach()
        torch.testing.assert_close(selector.scores(x, y), expected)
        assert not selector.scores(x, y).requires_grad
        torch.testing.assert_close(selector.scores(x[:3], y[:3]), expected[:3])  # fewer than n
        assert selector.state_dict()["step"] == 0
        own = Selector(model, N, score=lambda logits, y, index: index.float())
        index = torch.arange(K) + 5
        assert torch.equal(own.scores(x, y, index), index.float())
        with pytest.raises(ValueError, match="index is missing"):
            own.scores(x, y)
        with pytest.raises(ValueError, match="x has"):
            selector.scores(x[1:], y)

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
