"""Scores of the user's: what a function gets, what it may return, and what is drawn by it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast.batch._row_drawer import RowDrawer
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch._user_score import UserScore
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After, VarianceReduction
from impsamp_fast.ops import score
from tests.elsewhere import Elsewhere
from tests.methods import METHODS
from tests.toy import C, K, N


class TestScoreFunction:
    @pytest.mark.parametrize("correction", ["unbiased", "normalized", "none", 0.5])
    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    @pytest.mark.parametrize("method", METHODS)
    def test_picks_what_the_same_score_by_name_does(
        self, model, data, method, smoothing, correction
    ):
        x, y = data
        options = {
            "method": method,
            "smoothing": smoothing,
            "correction": correction,
            "ignore_index": 2,
            "seed": 3,
        }
        by_name = Selector(model, N, score="loss", **options)
        by_function = Selector(
            model, N, score=lambda z, y: score(z, y, "loss", ignore_index=2), **options
        )
        for _ in range(3):
            expected, batch = by_name(x, y), by_function(x, y)
            assert torch.equal(batch.index, expected.index)
            torch.testing.assert_close(batch.weight, expected.weight)
            assert batch.weight.dtype == torch.float32

    def test_gets_the_logits_without_a_graph(self, model, data):
        x, y = data

        def largest_logit(logits: Tensor, target: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            assert torch.equal(logits, model(x))
            assert target is y
            return logits.amax(-1).exp().double()

        batch = Selector(model, N, score=largest_logit, method="topk")(x, y)
        assert torch.equal(batch.index, model(x).amax(-1).topk(N).indices)

    def test_ignored_rows_are_not_drawn(self, model, data):
        x, y = data
        for smoothing in (0.0, 0.5):
            selector = Selector(
                model, N, score=lambda z, y: torch.ones(K), ignore_index=2, smoothing=smoothing
            )
            for _ in range(5):
                assert not (selector(x, y).y == 2).any()

    def test_a_start_rule_hears_its_tau(self, model, data):
        rules = [VarianceReduction(threshold=0.0), VarianceReduction(threshold=0.0)]
        by_name = Selector(model, N, score="loss", start=rules[0], seed=1)
        by_function = Selector(
            model, N, score=lambda z, y: score(z, y, "loss"), start=rules[1], seed=1
        )
        for _ in range(4):
            assert torch.equal(by_name(*data).index, by_function(*data).index)
        averages = [rule.state_dict()["average"] for rule in rules]
        assert averages[0] > 0
        assert averages[1] == pytest.approx(averages[0], rel=1e-5)

    @pytest.mark.parametrize(
        ("returned", "error", "message"),
        [
            ([1.0] * K, TypeError, "score returned list, expected a tensor"),
            (torch.ones(K, dtype=torch.int64), TypeError, "score returned a tensor of torch.int64"),
            (torch.ones(K, 1), ValueError, r"score returned shape \[64, 1\], expected \[64\]"),
            (torch.arange(K) - 1.0, ValueError, "score returned -1.0 for row 0, expected finite"),
            (torch.ones(K) / torch.tensor([1.0] * 3 + [0] + [1] * 60), ValueError, "inf for row 3"),
            (torch.full((K,), torch.nan), ValueError, "score returned nan for row 0"),
        ],
    )
    def test_is_named_when_it_returns_what_is_no_score(self, model, data, returned, error, message):
        selector = Selector(model, N, score=lambda z, y: returned)
        before = selector.state_dict()
        with pytest.raises(error, match=message):
            selector(*data)
        assert selector.state_dict() == before

    def test_may_be_negative_for_topk(self, model, data):
        x, y = data

        def margin(logits: Tensor, y: Tensor) -> Tensor:
            return -logits.gather(1, y[:, None]).squeeze(1) - 1e6 * (y == 1)

        expected = margin(model(x), y)
        expected = expected[y != 2].topk(N).values
        selector = Selector(model, N, score=margin, method="topk", ignore_index=2, smoothing=0.1)
        batch = selector(x, y)
        assert torch.equal(margin(model(x), y)[batch.index], expected)
        assert torch.equal(batch.weight, torch.ones(N))
        assert batch.weight.dtype == torch.float32

    def test_of_equal_negative_scores_the_first_are_taken(self, model, data):
        selector = Selector(model, N, score=lambda z, y: -torch.ones(K), method="topk")
        assert selector(*data).index.tolist() == list(range(N))

    def test_negative_ones_have_no_tau(self, model, data):
        rule = VarianceReduction(threshold=-1)
        selector = Selector(model, N, score=lambda z, y: z[:, 0] - 9, method="topk", start=rule)
        assert selector(*data).importance
        assert rule.state_dict()["average"] == 0

    @pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
    def test_must_be_finite_for_topk(self, model, data, value):
        scores = torch.arange(K).float()
        scores[3] = value
        selector = Selector(model, N, score=lambda z, y: scores, method="topk")
        with pytest.raises(ValueError, match=f"score returned {value} for row 3, expected finite"):
            selector(*data)


class Regression(nn.Module):
    """y = x summed up; its output has one column."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True)


def squared_error(output: Tensor, y: Tensor) -> Tensor:
    return (output.squeeze(1) - y).square()


class TestTargets:
    @pytest.mark.parametrize("ignore_index", [-100, None])
    def test_of_a_regression_are_never_ignored(self, data, ignore_index):
        x, _ = data
        y = torch.full((K,), -100.0)
        selector = Selector(
            Regression(), N, score=squared_error, method="topk", ignore_index=ignore_index
        )
        expected = squared_error(Regression()(x), y).topk(N).indices
        assert torch.equal(selector(x, y).index, expected)

    def test_of_a_regression_have_a_tau(self, data):
        x, _ = data
        rule = VarianceReduction()
        selector = Selector(Regression(), N, score=squared_error, start=rule)
        assert not selector(x, torch.full((K,), -100.0)).importance
        assert rule.state_dict()["average"] > 0

    def test_minus_100_is_a_target_if_none_is_ignored(self, model, data):
        x, y = data
        y = torch.full_like(y, -100)
        ones = torch.ones(K)
        batch = Selector(model, N, score=lambda z, y: ones, ignore_index=None)(x, y)
        assert batch.index.numel() == N
        with pytest.raises(IndexError, match="is -100"):
            Selector(model, N, ignore_index=None)(x, y)

    def test_without_one_to_ignore_rows_are_drawn_as_ever(self, model, data):
        expected = Selector(model, N, seed=3)(*data)
        batch = Selector(model, N, ignore_index=None, seed=3)(*data)
        assert torch.equal(batch.index, expected.index)
        assert torch.equal(batch.weight, expected.weight)


class Keywords(nn.Module):
    """Notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple] = []

    def forward(self, logits: Tensor, y: Tensor, *, index: Tensor, x: Tensor) -> Tensor:
        self.seen.append((logits, y, index, x))
        return torch.ones(len(y))


class TestFurtherArguments:
    def test_are_the_rows_x_and_index(self, model, data):
        x, y = data
        index, score = torch.randperm(1000)[:K], Keywords()
        Selector(model, N, score=score)(x, y, index)
        (logits, *others) = score.seen[0]
        assert torch.equal(logits, model(x))
        assert all(found is given for found, given in zip(others, (y, index, x), strict=True))

    def test_are_those_of_the_rows_that_pass_a_filter(self, model, data):
        x, y = data
        index, score = torch.randperm(1000)[:K], Keywords()
        Selector(model, 8, score=score, filter=AccuracyFilter())(x, y, index)
        wrong = (model(x).argmax(-1) != y).nonzero().squeeze(1)
        _, targets, numbers, rows = score.seen[0]
        assert len(wrong) >= 8
        for found, of in ((targets, y), (numbers, index), (rows, x)):
            assert torch.equal(found, of[wrong])

    def test_are_those_of_a_uniform_steps_rows(self, model, data):
        x, y = data
        index, score = torch.randperm(1000)[:K], Keywords()
        batch = Selector(model, N, score=score, start=VarianceReduction())(x, y, index)
        assert not batch.importance
        _, targets, numbers, rows = score.seen[0]
        assert torch.equal(targets, batch.y)
        assert torch.equal(numbers, batch.index)
        assert torch.equal(rows, batch.x)

    @pytest.mark.parametrize(
        "function",
        [
            lambda index, x: torch.ones(K),  # the first two are the logits and y, whatever they say
            lambda logits, y, **others: torch.ones(K, 1 + len(others)).squeeze(1),
            lambda *arguments: torch.ones(K, len(arguments) - 1).squeeze(1),
        ],
    )
    def test_are_given_by_name_only(self, model, data, function):
        assert Selector(model, N, score=function)(*data, torch.arange(K)).index.numel() == N

    def test_an_index_that_is_missing_is_named(self, model, data):
        for start in (None, After(1)):
            selector = Selector(model, N, score=lambda z, y, index: z[:, 0], start=start)
            with pytest.raises(ValueError, match="index is missing, and the score function takes"):
                selector(*data)
            assert selector.state_dict()["step"] == 0

    def test_an_index_with_a_default_may_be_missing(self, model, data):
        def score(logits: Tensor, y: Tensor, index: Tensor | None = None) -> Tensor:
            assert index is None
            return torch.ones(K)

        assert Selector(model, N, score=score)(*data).index.numel() == N


def test_rho_loss_is_a_score_function(model):
    """The reducible holdout loss of Mindermann et al. (2022): top n of loss minus holdout loss."""
    size = 500
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(size, 5, generator=generator), torch.arange(size) % C
    holdout_model = nn.Linear(5, C)
    holdout = F.cross_entropy(holdout_model(x), y, reduction="none").detach()

    def reducible_loss(logits: Tensor, y: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, reduction="none") - holdout[index]

    selector = Selector(model, N, score=reducible_loss, method="topk")
    for _ in range(3):
        index = torch.randperm(size, generator=generator)[:K]
        batch = selector(x[index], y[index], index)
        loss = F.cross_entropy(model(x[index]), y[index], reduction="none")
        reducible = (loss - holdout[index]).detach()
        assert (reducible < 0).any()
        assert torch.equal(batch.index, index[reducible.topk(N).indices])
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()


class TestOnAnAccelerator:
    """What is raised some steps after a score could not be drawn by, of the scores that were."""

    def drawer(self, function, method: str) -> RowDrawer:
        score = UserScore(function, negative=method == "topk")
        return RowDrawer(
            score, method, "unbiased", 0.0, None, TrainedLoss(0.0, None, -100), "raise"
        )

    @pytest.mark.parametrize("method", ["multinomial", "topk"])
    def test_the_cause_is_named_without_another_call(self, method):
        def refuse(logits: Tensor, y: Tensor) -> Tensor:
            raise AssertionError("called again, where it may find other tensors")

        drawer = self.drawer(refuse, method)
        scores = Elsewhere(torch.tensor([1.0, torch.nan, 2.0]))
        error = drawer._explainer(drawer._draw_by, 2, scores, None)(1)
        assert "score returned nan for row 1" in str(error)
        scores, ignored = Elsewhere(torch.ones(3)), Elsewhere(torch.ones(3, dtype=torch.bool))
        error = drawer._explainer(drawer._draw_by, 2, scores, ignored)(-1)
        assert "y is ignore_index (-100) in every row" in str(error)
