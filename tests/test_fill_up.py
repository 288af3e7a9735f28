"""Strategies without replacement go on where fewer rows have a score than a mini-batch has."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import impsamp_fast as isf
from impsamp_fast import strategies
from impsamp_fast._fill_up import fill_up
from tests.goodness import fits

K, N = 64, 16
WITHOUT_REPLACEMENT = ["race", "pps", "topk"]
NAMES = [
    "highest-loss",
    "gradient-norm",
    "el2n",
    "top-k",
    "loss-weighted",
    "loss-split",
]


def batch(wrong, rows=K):
    """Logits whose first rows are wrong; all others are fitted so well that their loss is 0."""
    logits = torch.zeros(rows, 2)
    logits[:, 0] = 200.0
    logits[:wrong, 0] = -1.0
    return logits, torch.zeros(rows, dtype=torch.int64)


@pytest.mark.parametrize("wrong", [0, 1, N - 1, N, K])
@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_returns_a_whole_mini_batch(name, wrong):
    options = {} if name in ("top-k", "loss-weighted", "loss-split") else {"start": isf.Always()}
    strategy = strategies.make(name, nn.Identity(), N, seed=0, **options)
    picked = strategy(*batch(wrong))
    assert len(picked.index.unique()) == N
    with_score = set(range(min(wrong, N))) if wrong <= N else set()
    assert with_score <= set(picked.index.tolist())


def score_of_ones_own(logits, y):
    return isf.score(logits, y, "loss")


@pytest.mark.parametrize("method", WITHOUT_REPLACEMENT)
@pytest.mark.parametrize("score", ["loss", score_of_ones_own])
def test_the_others_are_uniform_among_those_with_a_target(method, score):
    """False alarms: 1 in 10^6, with this seed none."""
    logits, y = batch(3)
    y[40:] = -100
    counts = torch.zeros(K, dtype=torch.int64)
    selector = isf.Selector(nn.Identity(), N, score=score, method=method, seed=1)
    draws = 3000
    for _ in range(draws):
        counts[selector(logits, y).index] += 1
    assert counts[:3].tolist() == [draws] * 3
    assert counts[40:].sum() == 0
    assert fits(counts[3:40], torch.ones(37))


@pytest.mark.parametrize("method", ["race", "pps"])
@pytest.mark.parametrize("score", ["loss", score_of_ones_own])
def test_their_weights_keep_the_estimate_unbiased(method, score):
    """Each row's weight is the inverse of its chance: 1 for the wrong ones, 13 of 37 else."""
    logits, y = batch(3)
    y[40:] = -100
    picked = isf.Selector(nn.Identity(), N, score=score, method=method, seed=1)(logits, y)
    expected = torch.where(picked.index < 3, N / K, N / K * 37 / 13)
    torch.testing.assert_close(picked.weight, expected)


def test_topk_has_weights_of_1():
    selector = isf.Selector(nn.Identity(), N, score="loss", method="topk", seed=1)
    assert torch.equal(selector(*batch(3)).weight, torch.ones(N))


@pytest.mark.parametrize("method", WITHOUT_REPLACEMENT)
@pytest.mark.parametrize("score", ["loss", score_of_ones_own])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_rows_without_a_target_are_the_last_to_be_taken(method, score, smoothing):
    logits, y = batch(3)
    y[10:] = -100
    selector = isf.Selector(
        nn.Identity(), N, score=score, method=method, smoothing=smoothing, seed=1
    )
    picked = selector(logits, y)
    assert len(picked.index.unique()) == N
    assert set(range(10)) <= set(picked.index.tolist())
    assert F.cross_entropy(picked.x, picked.y).isfinite()


def test_an_error_of_the_scores_stays_that_error():
    logits, y = batch(3)
    logits[20, 1] = torch.nan
    selector = isf.Selector(nn.Identity(), N, score="loss", method="topk", seed=1)
    with pytest.raises(ValueError, match=r"logits\[20, 1\] is nan"):
        selector(logits, y)
    with pytest.raises(ValueError, match='score is "lost"'):
        isf.Selector(nn.Identity(), N, score="lost", method="topk")
    y[:] = -100
    with pytest.raises(ValueError, match="in every row, so none can be drawn"):
        selector(batch(3)[0], y)


def test_draw_itself_keeps_its_error():
    with pytest.raises(ValueError, match="only 3 weights are positive"):
        isf.draw(torch.tensor([1.0, 0, 2, 0, 3]), 4, "race", seed=0)


@pytest.mark.parametrize("rows", [2, 1000, 100_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chances_are_exact_at_every_size(rows, dtype):
    weights = torch.zeros(rows, dtype=dtype)
    weights[0] = 1e-30
    n = rows // 2 + 1
    drawn = fill_up(weights, None, n, seed=3)
    assert len(drawn.index.unique()) == n
    assert drawn.index[0] == 0
    assert drawn.prob[0] == 1
    chance = torch.full((n - 1,), (n - 1) / max(1, rows - 1), dtype=dtype)
    torch.testing.assert_close(drawn.prob[1:], chance)


def test_an_easy_data_set_is_trained_to_the_end():
    torch.manual_seed(0)
    x = torch.randn(2048, 20)
    y = (x[:, :10].sum(1) > 0).long()
    x[:, 0] += 3 * (2 * y - 1)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    model.append(nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    strategy = strategies.make("highest-loss", model, 128, seed=0)
    generator = torch.Generator().manual_seed(1)
    few = 0
    for _ in range(60):
        rows = torch.randint(2048, (1024,), generator=generator)
        picked = strategy(x[rows], y[rows])
        few += bool((F.cross_entropy(model(x[rows]), y[rows], reduction="none") > 0).sum() < 128)
        loss = picked.mean(F.cross_entropy(model(picked.x), picked.y, reduction="none"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert few > 0
