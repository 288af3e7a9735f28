"""Strategies: for each its formula on an example computed by hand.

The model returns its input, so that a raw batch is its logits. The example's six rows have two
classes, the first of which is right, with the probabilities P.
"""

import numpy as np
import pytest
import torch
from scipy.stats import chi2, chisquare
from torch import nn

from impsamp_fast import strategies
from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.batch.start import After, Always, LossRatio, VarianceReduction
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset.pick_counts import PickCounts
from tests.goodness import FALSE_ALARM
from tests.toy import REQUIRED, N

DRAWS = 4000

P = np.array([0.9, 0.5, 0.2, 0.6, 0.8, 0.95])
LOSS = -np.log(P)  # 0.105 0.693 1.609 0.511 0.223 0.051
GRADIENT_NORM = np.sqrt(2) * (1 - P)  # of (P - 1, 1 - P): 0.141 0.707 1.131 0.566 0.283 0.071
X = torch.from_numpy(np.log(np.stack([P, 1 - P], axis=1)))
Y = torch.zeros(6, dtype=torch.int64)
ONES = [1.0]


def make(name: str, n: int, **parameters) -> BatchStrategy:
    return strategies.make(name, nn.Identity(), n, **{"seed": 0} | parameters)


def pick(name: str, n: int, **parameters) -> MiniBatch:
    """What the strategy picks from the example in the first step."""
    return make(name, n, **parameters)(X, Y)


def picks(name: str, n: int, **parameters) -> np.ndarray:
    """What it picks in many steps, [steps, n]."""
    strategy = make(name, n, **parameters)
    return np.stack([strategy(X, Y).index.numpy() for _ in range(DRAWS)])


def assert_drawn_with(p: np.ndarray, rows: np.ndarray) -> None:
    """Independent draws with these probabilities."""
    observed = np.bincount(rows.ravel(), minlength=len(p))
    assert chisquare(observed, rows.size * p).pvalue > FALSE_ALARM


class TestUniform:
    def test_trains_on_every_row(self):
        strategy = make("uniform", 4)
        found = [batch.index.tolist() for batch in strategy.batches([(X, Y), (X, Y)])]
        assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]

    def test_passes_raw_batches_of_n_through(self):
        strategy = make("uniform", 6)
        assert strategy.raw_size == 6
        batch = strategy(X, Y)
        assert batch.x is X
        assert batch.y is Y
        assert batch.weight.tolist() == ONES * 6
        assert not batch.importance

    def test_asks_for_the_rows_that_are_missing(self):
        strategy = make("uniform", 10)
        strategy(X, Y)
        assert strategy.raw_size == 4
        strategy(X, Y)
        assert strategy.raw_size == 8


@pytest.mark.parametrize("name", ["uniform", "random-subset"])
def test_baselines_name_an_option_that_they_do_not_have(name):
    with pytest.raises(TypeError, match=r"\w+\(\) got an unexpected keyword argument 'start'"):
        make(name, 4, start=Always())
    counts = PickCounts(6)
    made = make(name, 4, counts=counts, seed=3)
    assert (made.counts, made.seed) == (counts, 3)


class TestRandomSubset:
    def test_picks_different_rows_unscored(self):
        model = nn.Linear(3, 3)  # does not take the example
        batch = strategies.make("random-subset", model, 4)(X, Y)
        assert batch.index.unique().numel() == 4
        assert batch.weight.tolist() == ONES * 4
        assert not batch.importance

    def test_picks_each_set_equally_often(self):
        rows = np.sort(picks("random-subset", 2), axis=1)
        pairs = [(a, b) for a in range(6) for b in range(a + 1, 6)]
        observed = [(rows == pair).all(axis=1).sum() for pair in pairs]
        assert chisquare(observed).pvalue > FALSE_ALARM


class TestKnutsson:
    NAMES = ("highest-loss", "highest-loss-cdf", "gradient-norm", "gradient-norm-cdf")

    @pytest.mark.parametrize("name", NAMES)
    def test_starts_when_the_loss_has_fallen(self, name):
        assert make(name, 2).start.threshold == 0.42
        strategy = make(name, 2, threshold=0.5)
        assert isinstance(strategy.start, LossRatio)
        for loss in (4.0, 3.0, 1.9):
            batch = strategy(X, Y)
            assert not batch.importance
            batch.mean(torch.full((2,), loss))
        batch = strategy(X, Y)
        assert batch.importance
        assert batch.weight.tolist() == ONES * 2

    @pytest.mark.parametrize("name", ["highest-loss", "gradient-norm"])
    def test_highest_takes_the_largest(self, name):
        for seed in range(5):
            batch = pick(name, 3, start=Always(), seed=seed)
            assert batch.index.tolist() == [2, 1, 3]
            assert batch.weight.tolist() == ONES * 3

    @pytest.mark.parametrize(
        ("name", "score"), [("highest-loss-cdf", LOSS), ("gradient-norm-cdf", GRADIENT_NORM)]
    )
    def test_cdf_draws_with_probabilities_of_the_score(self, name, score):
        assert_drawn_with(score / score.sum(), picks(name, 3, start=Always()))
        assert pick(name, 3, start=Always()).weight.tolist() == ONES * 3


class TestKatharopoulos:
    G = GRADIENT_NORM / GRADIENT_NORM.sum()

    @pytest.mark.parametrize("name", ["kf18", "kf18-biased"])
    def test_starts_when_tau_is_above_the_threshold(self, name):
        # The six rows are the mini-batch too: tau = sqrt(6 sum g^2) = sqrt(6 * 1.1025) / 2.05.
        tau = np.sqrt(6 * np.square(self.G).sum())
        assert tau == pytest.approx(1.2546, abs=1e-4)
        rule = make(name, 6).start
        assert isinstance(rule, VarianceReduction)
        assert (rule.threshold, rule.momentum) == (None, 0.9)
        strategy = make(name, 6, threshold=0.3)
        importance = [strategy(X, Y).importance for _ in range(5)]
        average = [(1 - 0.9**steps) * tau for steps in range(5)]  # 0 0.13 0.24 0.34 ...
        assert importance == [value > 0.3 for value in average] == [False] * 3 + [True] * 2

    @pytest.mark.parametrize("name", ["kf18", "kf18-biased"])
    def test_draws_with_probabilities_of_the_gradient_norm(self, name):
        assert_drawn_with(self.G, picks(name, 4, start=Always()))

    def test_weights_are_the_inverse_probabilities(self):
        batch = pick("kf18", 4, start=Always())
        np.testing.assert_allclose(batch.weight, 1 / (6 * self.G[batch.index]))

    def test_the_correction_of_biased_weights_is_k(self):
        with pytest.raises(TypeError, match=r"correction is 'none', but .* give k instead"):
            make("kf18-biased", 4, correction="none")

    @pytest.mark.parametrize("k", [0.5, 0.0, -1.0])
    def test_biased_weights_keep_the_sum_of_weight_times_score(self, k):
        parameters = {} if k == 0.5 else {"k": k}
        batch = pick("kf18-biased", 4, start=Always(), **parameters)
        g = self.G[batch.index]
        unbiased = 1 / (6 * g)
        expected = unbiased**k * (unbiased * g).sum() / (unbiased**k * g).sum()
        np.testing.assert_allclose(batch.weight, expected)


class TestNorms:
    # The last layer is the identity, so h are the logits.
    H = np.stack([np.log(P), np.log(1 - P)], axis=1)
    LAST = GRADIENT_NORM * np.sqrt(1 + np.square(H).sum(axis=1))
    G = LAST / LAST.sum()

    def strategy(self, n: int, **parameters) -> BatchStrategy:
        layer = nn.Linear(2, 2).double()
        with torch.no_grad():
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        return strategies.make("last-layer-norm", nn.Sequential(layer), n, seed=0, **parameters)

    @pytest.mark.parametrize("parameters", [{}, {"layer": "0"}])
    def test_last_layer_is_the_gradient_of_weight_and_bias(self, parameters):
        strategy = self.strategy(3, **parameters)
        batch = strategy(X, Y)
        np.testing.assert_allclose(batch.weight, 1 / (6 * self.G[batch.index]))
        norms = []
        for x, y in zip(X, Y, strict=True):
            loss = nn.functional.cross_entropy(strategy.model(x), y)
            gradients = torch.autograd.grad(loss, list(strategy.model.parameters()))
            norms.append(torch.cat([part.flatten() for part in gradients]).norm().item())
        np.testing.assert_allclose(norms, self.LAST)

    def test_last_layer_draws_with_its_probabilities(self):
        strategy = self.strategy(3)
        rows = np.stack([strategy(X, Y).index.numpy() for _ in range(DRAWS)])
        assert_drawn_with(self.G, rows)

    def test_el2n_takes_the_largest_error_norms(self):
        # Of three classes the order differs from that of the losses: |p - onehot| is 0.762 for the
        # first row and 0.735 for the second, the losses are 0.799 and 0.916.
        p = torch.tensor([[0.45, 0.54, 0.01], [0.4, 0.3, 0.3]])
        x, y = p.log(), torch.zeros(2, dtype=torch.int64)
        for seed in range(5):
            batch = strategies.make("el2n", nn.Identity(), 1, seed=seed)(x, y)
            assert batch.index.tolist() == [0]
            assert batch.weight.tolist() == ONES
        assert strategies.make("top-k", nn.Identity(), 1)(x, y).index.tolist() == [1]


class TestAssist:
    def test_top_k(self):
        for seed in range(5):
            batch = pick("top-k", 4, seed=seed)
            assert batch.index.tolist() == [2, 1, 3, 4]
            assert batch.weight.tolist() == ONES * 4

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [({}, [1, 2, 3]), ({"q": 0.8}, [2]), ({"q": 0.0}, [0, 1, 2, 3, 4])],
    )
    def test_top_q(self, parameters, expected):
        for seed in range(5):
            batch = pick("top-q", 1, seed=seed, **parameters)
            assert batch.index.tolist() == expected
            assert batch.weight.tolist() == ONES * len(expected)

    def test_loss_weighted_draws_one_after_the_other(self):
        p = LOSS / LOSS.sum()
        rows = picks("loss-weighted", 2)
        pairs = [(a, b) for a in range(6) for b in range(6) if a != b]
        expected = np.array([p[a] * p[b] / (1 - p[a]) for a, b in pairs])
        observed = np.array([(rows == pair).all(axis=1).sum() for pair in pairs])
        # Rare pairs are counted together, as the test assumes more than a few of each.
        rare = expected * DRAWS < 5
        expected = [*expected[~rare], expected[rare].sum()]
        observed = [*observed[~rare], observed[rare].sum()]
        assert chisquare(observed, DRAWS * np.array(expected)).pvalue > FALSE_ALARM
        assert pick("loss-weighted", 2).weight.tolist() == ONES * 2

    def test_loss_split(self):
        # Squares 0.003 0.011 0.050 0.261 0.480 2.590, of which the last is more than half: of n = 3
        # one comes from it, being all it has, and two from the others.
        rows = picks("loss-split", 3)
        assert (rows[:, 2] == 2).all()
        low = rows[:, :2]
        pairs = [(a, b) for a in (0, 1, 3, 4, 5) for b in (0, 1, 3, 4, 5) if a < b]
        observed = [(np.sort(low, axis=1) == pair).all(axis=1).sum() for pair in pairs]
        assert chisquare(observed).pvalue > FALSE_ALARM
        assert pick("loss-split", 3).weight.tolist() == ONES * 3

    @pytest.mark.parametrize(("parameters", "highest"), [({"q": 3}, {2}), ({"p": 0.0}, {1, 2, 3})])
    def test_loss_split_by_other_parts(self, parameters, highest):
        # Thirds of the squares: all but row 2 end in the first. Halves of the number of rows: the
        # upper three.
        assert set(picks("loss-split", 2, **parameters)[:, 1]) == highest

    @pytest.mark.parametrize(
        ("name", "parameters", "expected"),
        [
            ("hard-accuracy", {}, [1, 2]),  # a tie and the wrong one
            ("soft-accuracy", {}, [1, 2]),
            ("soft-accuracy", {"alpha": 0.25}, [1, 2, 3]),  # 0.6 - 0.4 <= 0.25
            ("soft-accuracy", {"alpha": 0.65}, [1, 2, 3, 4]),  # and 0.8 - 0.2
        ],
    )
    def test_accuracy_accumulates_the_rows_that_pass(self, name, parameters, expected):
        for seed in range(3):
            strategy = make(name, 2 * len(expected), seed=seed, **parameters)
            assert isinstance(strategy, Accumulator)
            assert strategy(X, Y) is None
            batch = strategy(X, Y)
            assert batch.index.tolist() == expected + [6 + row for row in expected]
            assert batch.weight.tolist() == ONES * 2 * len(expected)
        assert strategies.get("soft-accuracy")(nn.Identity(), 2).filter.alpha == 0.1

    def test_accuracy_fills_with_random_rows(self):
        found = np.zeros(6)
        for seed in range(DRAWS):
            found[pick("hard-accuracy", 4, patience=1, seed=seed).index.numpy()] += 1
        assert found[[1, 2]].tolist() == [DRAWS, DRAWS]
        others = found[[0, 3, 4, 5]]
        deviation = np.square(others - DRAWS / 2).sum() / (DRAWS / 4)
        # Two of four without replacement: chi-squared with 3 degrees of freedom after scaling.
        assert deviation * 3 / 4 < chi2.isf(FALSE_ALARM, 3)


class TestSelectiveBackprop:
    # The rank of each of the six losses.
    RANK = np.array([2, 5, 6, 4, 3, 1]) / 6

    @pytest.mark.parametrize("beta", [1.0, 2.0])
    def test_keeps_rows_by_the_rank_of_their_loss(self, beta):
        found = np.zeros(6)
        for seed in range(DRAWS):
            queue = make("selective-backprop", 100, beta=beta, seed=seed)
            queue(X, Y)
            found[queue.state_dict()["rows"][2].numpy()] += 1
        p = self.RANK**beta
        assert found[2] == DRAWS
        uncertain = self.RANK < 1
        found, p = found[uncertain], p[uncertain]
        deviation = np.square(found - DRAWS * p) / (DRAWS * p * (1 - p))
        assert deviation.sum() < chi2.isf(FALSE_ALARM, 5)

    def test_queues_them(self):
        queue = make("selective-backprop", 8)
        assert isinstance(queue, SelectiveBackprop)
        assert (queue.beta, queue.history) == (1.0, 1024)
        batches = list(queue.batches([(X, Y)] * 10))
        assert 3 <= len(batches) <= 5  # 3.5 rows of six are selected on average
        for batch in batches:
            assert batch.weight.tolist() == ONES * 8
            torch.testing.assert_close(batch.x, X[batch.index % 6])

    def test_keeps_all_in_the_first_epoch(self):
        queue = make("selective-backprop", 6, start=After(3))
        batches = list(queue.batches([(X, Y)] * 3))
        assert [batch.index.tolist() for batch in batches] == [
            list(range(i, i + 6)) for i in (0, 6, 12)
        ]
        assert queue(X, Y) is None


@pytest.mark.parametrize("name", strategies.names("batch"))
def test_options_reach_what_is_made(model, data, name):
    weight = torch.tensor([1.0, 5.0, 0.5])
    options = {"label_smoothing": 0.1, "class_weight": weight, "ignore_index": 1, "seed": 3}
    required = REQUIRED.get(name, {})
    strategy = strategies.make(name, model, N, **options, **required)
    made = getattr(strategy, "selector", strategy)
    for option, value in options.items():
        assert getattr(made, option) is value
    with pytest.raises(TypeError, match="unexpected keyword argument 'lable_smoothing'"):
        strategies.make(name, model, N, lable_smoothing=0.1, **required)
