"""What the operators are compared with computes the same."""

import torch
import torch.nn.functional as F
from torch import nn

import impsamp_fast
from bench.operators import peers


def test_peers_compute_what_the_operators_compute() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    x, y = torch.randn(20, 3), torch.randint(4, (20,))
    logits = model(x).detach()
    ours = impsamp_fast.row_stats(logits, y)
    loss, norm = peers.eager_row_stats(logits, y)
    torch.testing.assert_close(loss, ours.loss)
    torch.testing.assert_close(norm, ours.grad_norm)
    torch.testing.assert_close(peers.row_loop_grad_norm(model, x, y), ours.grad_norm)
    index, weight, norm, loss = peers.eager_select(logits, y, 7)
    probability = norm[index] / norm.sum()
    torch.testing.assert_close(weight, 1 / (20 * probability))
    torch.testing.assert_close(loss, F.cross_entropy(logits, y, reduction="none"))
