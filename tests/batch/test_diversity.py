"""DivBS beside the same greedy choice by gradients that are formed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from impsamp_fast import strategies
from impsamp_fast.batch.diversity import _Spanning
from tests.elsewhere import Elsewhere, accelerator

pytestmark = pytest.mark.usefixtures("one_thread")

K, D, H, C = 60, 6, 12, 4


def greedy(g: np.ndarray, n: int) -> list[int]:
    """The rows of largest product with the residual, whose g are made orthonormal one by one."""
    residual, basis, rows = g.mean(axis=0), [], []
    for _ in range(n):
        size = np.abs(g @ residual)
        size[rows] = -1
        row = int(size.argmax())
        unit = g[row].copy()
        for _ in range(2):  # twice is enough
            for other in basis:
                unit -= (unit @ other) * other
        unit /= np.linalg.norm(unit)
        residual = residual - (residual @ unit) * unit
        basis.append(unit)
        rows.append(row)
    return rows


def network(bias: bool = True) -> nn.Module:
    layers = nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, C, bias=bias)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in layers.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 2)
    return layers


def large_batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(K, D, generator=generator, dtype=torch.float64)
    return x, torch.randint(C, (K,), generator=generator)


def gradients(model: nn.Module, x: Tensor, y: Tensor, **options) -> np.ndarray:
    """That of the last layer's weight for each row."""
    found = []
    for row in range(len(x)):
        loss = F.cross_entropy(
            model(x[row : row + 1]), y[row : row + 1], reduction="sum", **options
        )
        (gradient,) = torch.autograd.grad(loss, model[2].weight)
        found.append(gradient.flatten().numpy())
    return np.stack(found)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.2},
        {"weight": torch.tensor([1.0, 0.5, 3.0, 2.0], dtype=torch.float64)},
    ],
    ids=lambda options: next(iter(options), "plain"),
)
def test_takes_the_rows_of_the_greedy_choice(options):
    told = {"class_weight" if key == "weight" else key: value for key, value in options.items()}
    for seed in range(3):
        model = network()
        x, y = large_batch(seed)
        for n in (1, 5, 25):
            batch = strategies.make("divbs", model, n, seed=0, **told)(x, y)
            assert batch.index.tolist() == greedy(gradients(model, x, y, **options), n)
            assert batch.weight.tolist() == [1.0] * n


def test_class_probabilities_are_targets_as_well():
    model = network(bias=False)
    x, y = large_batch(0)
    soft = F.one_hot(y, C).double() * 0.7 + 0.3 / C
    batch = strategies.make("divbs", model, 9, layer="2", seed=0)(x, soft)
    assert batch.index.tolist() == greedy(gradients(model, x, soft), 9)


def test_what_was_taken_approximates_the_mean():
    """Better than as many random rows."""
    model = network()
    x, y = large_batch(0)
    g = gradients(model, x, y)

    def residual(rows: np.ndarray) -> float:
        return float(np.linalg.lstsq(g[rows].T, g.mean(axis=0), rcond=None)[1].sum())

    chosen = strategies.make("divbs", model, 12, seed=0)(x, y).index.numpy()
    random = [np.random.default_rng(seed).permutation(K)[:12] for seed in range(20)]
    assert residual(chosen) < min(map(residual, random))


def test_where_nothing_is_left_the_rest_is_random():
    """Of gradients of rank 2 all that follow are."""
    generator = torch.Generator().manual_seed(0)
    h = torch.zeros(K, 5)
    h[:, :2] = torch.randn(K, 2, generator=generator)
    rule = _Spanning(torch.ones(K, 1), h)
    scores = torch.ones(K)
    picks = [rule(scores, 20, seed=seed).index.tolist() for seed in range(40)]
    assert all(len(set(rows)) == 20 for rows in picks)
    assert len({tuple(rows[:2]) for rows in picks}) == 1
    assert len({tuple(sorted(rows[2:])) for rows in picks}) > 35


def test_rows_of_score_0_are_taken_last():
    rule = _Spanning(torch.randn(K, C), torch.randn(K, H))
    scores = torch.zeros(K)
    scores[3:9] = 1
    rows = rule(scores, 10, seed=0).index.tolist()
    assert set(rows[:6]) == set(range(3, 9))
    assert len(set(rows)) == 10


def test_rows_without_a_target_or_with_a_fault_are_left_out():
    model = network()
    x, y = large_batch(0)
    x[4], y[5], y[6] = torch.nan, C, -100
    batch = strategies.make("divbs", model, K - 3, on_fault="skip", seed=0)(x, y)
    assert set(batch.index.tolist()) == set(range(K)) - {4, 5, 6}
    sound = [row for row in range(K) if row not in (4, 5, 6)]
    few = strategies.make("divbs", model, 7, on_fault="skip", seed=0)(x, y).index.tolist()
    # The mean is over all rows, which only scales it.
    assert few == [sound[row] for row in greedy(gradients(model, x[sound], y[sound]), 7)]


def test_the_host_does_not_wait():
    dz, h, scores = torch.randn(K, C), torch.randn(K, H), torch.ones(K)
    expected = _Spanning(dz, h)(scores, 9, seed=0).index
    with accelerator():
        waits = Elsewhere.waits
        found = _Spanning(Elsewhere(dz), Elsewhere(h))(Elsewhere(scores), 9, seed=0).index
        assert Elsewhere.waits == waits
    assert torch.equal(found.values, expected)


def test_a_model_without_such_a_layer_is_named():
    x, y = large_batch(0)
    with pytest.raises(ValueError, match=r"method is Diversity\(\), .* has no nn.Linear"):
        strategies.make("divbs", nn.Identity(), 3)(x[:, :C], y)
    with pytest.raises(ValueError, match=r"method is Diversity\(\), .* does not return the output"):
        strategies.make("divbs", nn.Sequential(network(), nn.Tanh()), 3)(x, y)
    with pytest.raises(TypeError, match="Diversity needs a Selector"):
        isf.Diversity()(torch.ones(3), 1, seed=0)
