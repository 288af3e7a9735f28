"""The subset of the largest variance, beside all subsets."""

from itertools import combinations

import numpy as np
import pytest
import torch

from impsamp_fast import MaxVariance
from tests.elsewhere import Elsewhere, accelerator


def largest_variance(scores: np.ndarray, n: int) -> float:
    return max(scores[list(subset)].var() for subset in combinations(range(len(scores)), n))


@pytest.mark.parametrize("kind", ["spread", "ties", "two values"])
@pytest.mark.parametrize(("K", "n"), [(6, 3), (8, 5), (7, 1), (5, 5), (9, 2)])
def test_no_subset_has_a_larger_variance(kind, K, n):
    generator = np.random.default_rng(K * n)
    for _ in range(10):
        scores = 1 + generator.random(K)
        if kind != "spread":
            scores = np.round(scores * (4 if kind == "ties" else 1))
        index, prob = MaxVariance()(torch.from_numpy(scores), n, seed=0)
        assert index.unique().numel() == n
        assert prob.tolist() == [1.0] * n
        chosen = scores[index.numpy()]
        assert (np.diff(chosen) >= 0).all()
        np.testing.assert_allclose(chosen.var(), largest_variance(scores, n), atol=1e-14)


def test_a_large_mean_does_not_hide_the_variance():
    scores = 1e6 + torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 10.0], dtype=torch.float32)
    assert MaxVariance()(scores, 3, seed=0).index.tolist() == [0, 1, 5]


def test_rows_of_score_0_are_taken_last():
    scores = torch.tensor([0.0, 2.0, 0.0, 3.0, 2.5, 0.0])
    for n, expected in ((1, 1), (2, {1, 3}), (3, {1, 3, 4})):
        index = MaxVariance()(scores, n, seed=0).index
        assert set(index.tolist()) == expected if n > 1 else index.numel() == 1
        assert (scores[index] > 0).all()
    assert {1, 3, 4} < set(MaxVariance()(scores, 4, seed=0).index.tolist())


def test_the_host_does_not_wait():
    scores = torch.rand(50, generator=torch.Generator().manual_seed(0)) + 1
    expected = MaxVariance()(scores, 7, seed=0)
    waits = Elsewhere.waits
    with accelerator():
        found = MaxVariance()(Elsewhere(scores), 7, seed=0)
    assert Elsewhere.waits == waits
    assert torch.equal(found.index.cpu(), expected.index)
