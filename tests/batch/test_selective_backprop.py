"""Selective backprop keeps rows by the rank of their loss among the last ones."""

import math

import pytest
import torch
from scipy.stats import chi2, percentileofscore
from torch import Tensor, nn

from impsamp_fast.batch.draw_rules import keep_each
from impsamp_fast.batch.selective_backprop import SelectiveBackprop, percentile_rank
from impsamp_fast.batch.start import After
from tests.goodness import FALSE_ALARM
from tests.toy import C, N, seed_of_step


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
