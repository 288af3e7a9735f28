"""The jobs, and how our operators do them."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from bench.operators.peers.peer import Job
from bench.operators.timing import Function


def _losses(logits: Tensor, target: Tensor) -> Function:
    return lambda: isf.score(logits, target, "loss")


def _row_stats(logits: Tensor, target: Tensor) -> Function:
    return lambda: isf.row_stats(logits, target)


def _linear_losses(features: Tensor, weight: Tensor, target: Tensor) -> Function:
    return lambda: isf.score(F.linear(features, weight), target, "loss")


def _gradient_norms(model: nn.Module, x: Tensor, y: Tensor) -> Function:
    def forward_and_score() -> Tensor:
        with torch.no_grad():
            return isf.score(model(x), y)

    return forward_and_score


def _select(logits: Tensor, target: Tensor, n: int) -> Function:
    return lambda: isf.select(logits, target, n)


def _draw(method: str, weights: Tensor, n: int) -> Function:
    return lambda: isf.draw(weights, n, method).index


def _draw_updated(weights: Tensor, rows: Tensor, values: Tensor, n: int) -> Function:
    return lambda: isf.draw(weights.index_copy_(0, rows, values), n).index


def _draw_by_rank(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Function:
    weights = rank_weights(len(x), n)

    def forward_score_and_draw() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            ascending = isf.score(model(x), y, "loss").argsort()
        index = ascending[isf.draw(weights, n, "race").index]
        return x[index], y[index]

    return forward_score_and_draw


def rank_weights(K: int, n: int) -> Tensor:
    """Weights [K] of rows in ascending order of loss: the percentile to the power K / n - 1."""
    return ((torch.arange(K) + 0.5) / K) ** (K / n - 1)


# logits [K, C], target [K] -> losses [K]
LOSSES = Job("losses", _losses)
# logits [K, C], target [K] -> losses, gradient norms [K]
ROW_STATS = Job("row_stats", _row_stats)
# features [K, D], the last layer's weight [C, D], target [K] -> losses [K]
LINEAR_LOSSES = Job("losses from features", _linear_losses)
# model, x, y -> norms of the gradients of the output bias [K]
GRADIENT_NORMS = Job("gradient norms of a model", _gradient_norms)
# logits [K, C], target [K], n -> rows, unbiased weights [n], gradient norms, losses [K]
SELECT = Job("select", _select)
# weights [K], n -> rows, n numbers
DRAW = Job("draw", partial(_draw, "multinomial"))
DRAW_WITHOUT_REPLACEMENT = Job("draw without replacement", partial(_draw, "race"))
DRAW_LARGEST = Job("draw the largest", partial(_draw, "topk"))
BY_METHOD = {
    "multinomial": DRAW,
    "race": DRAW_WITHOUT_REPLACEMENT,
    "topk": DRAW_LARGEST,
}
# weights [K], rows with new weights, those [rows], n -> rows, n numbers
DRAW_UPDATED = Job("draw after an update", _draw_updated)
# model, x, y, n -> n rows of x and y, drawn without replacement by the rank of their losses
DRAW_BY_RANK = Job("draw by rank of loss", _draw_by_rank)
