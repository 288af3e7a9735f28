import math

import numpy as np
import pytest
import torch

from impsamp_fast.dataset import BatchLossPruning, InfoBatch

SIZE = 12


def reference(steps, alpha: float) -> np.ndarray:
    """The scores after steps (index, losses), in double precision."""
    scores = np.full(SIZE, np.nan)
    for index, losses in steps:
        mean = np.mean(losses)
        for i in index:
            scores[i] = mean if math.isnan(scores[i]) else alpha * scores[i] + (1 - alpha) * mean
    return scores


@pytest.mark.parametrize("alpha", [0.7, 0.0])
def test_scores_are_moving_averages_of_the_batches_losses(alpha):
    sampler = BatchLossPruning(SIZE, 10, alpha=alpha, seed=0)
    generator = np.random.default_rng(0)
    steps = [(generator.permutation(SIZE)[:4], generator.random(4)) for _ in range(9)]
    for index, losses in steps:
        sampler.update(torch.tensor(index), losses=torch.tensor(losses))
    np.testing.assert_allclose(sampler.scores().numpy(), reference(steps, alpha), rtol=1e-6)


def test_losses_come_from_logits_where_they_are_not_told():
    told, untold = (BatchLossPruning(SIZE, 10, seed=0) for _ in range(2))
    index, logits, y = torch.arange(4), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    told.update(index, losses=torch.nn.functional.cross_entropy(logits, y, reduction="none"))
    untold.update(index, logits, y)
    torch.testing.assert_close(untold.scores(), told.scores(), equal_nan=True)


def test_prunes_as_infobatch_would_by_these_scores():
    """Batches of one sample each: scores are losses."""
    losses = torch.tensor([1.0, 3.5, 2.0, 3.0, 4.0, 4.5, 10.0, 2.5, 0.5, 9.0, 3.0, 6.0])
    sampler = BatchLossPruning(SIZE, 10, alpha=0.0, seed=3)
    expected = InfoBatch(SIZE, 10, seed=3)
    for i in range(SIZE):
        sampler.update(torch.tensor([i]), losses=losses[i : i + 1])
    expected.update(torch.arange(SIZE), losses=losses)
    for epoch in (1, 2, 9):
        sampler.set_epoch(epoch)
        expected.set_epoch(epoch)
        picks = list(sampler)
        assert picks == list(expected)
        assert len(picks) == (SIZE if epoch == 9 else 8)
        index = torch.tensor(picks)
        assert torch.equal(sampler.weight(index), expected.weight(index))


def test_a_batch_of_faulty_rows_alone_changes_nothing():
    sampler = BatchLossPruning(SIZE, 10, on_fault="skip", seed=0)
    sampler.update(torch.arange(4), losses=torch.ones(4))
    before = sampler.scores().clone()
    sampler.update(torch.arange(2), losses=torch.full((2,), torch.nan))
    torch.testing.assert_close(sampler.scores(), before, equal_nan=True)
    assert sampler.faulty_rows == 2


@pytest.mark.parametrize("alpha", [1, -0.1])
def test_bad_arguments_are_named(alpha):
    with pytest.raises(ValueError, match=f"alpha is {alpha}, expected .* 0 <= alpha < 1"):
        BatchLossPruning(SIZE, 10, alpha=alpha)
