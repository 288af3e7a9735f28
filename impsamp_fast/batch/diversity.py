"""DivBS: rows whose gradients together span the mean gradient."""

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch._user_score import Scored
from impsamp_fast.batch.draw_rules import DrawRule
from impsamp_fast.ops import Draw, Kind, draw
from impsamp_fast.ops._spanning import spanning_rows

# Of its first size: a residual that small is what rounding has left of nothing.
_NOTHING = {torch.float32: 1e-5, torch.float64: 1e-12}


class FeatureRule(DrawRule):
    """A draw rule that looks at the logits and at the input of the last layer as well."""

    @abstractmethod
    def of(self, scored: Scored, loss: TrainedLoss) -> DrawRule:
        """The rule for these rows, whose ``features`` are there."""

    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        """TypeError: scores alone do not tell."""
        raise TypeError(f"{type(self).__name__} needs a Selector, which knows the last layer")


@final
class Diversity(FeatureRule):
    r"""Picks the rows whose last layer's gradients span most of the mean gradient, greedily.

    Hong et al. (2024): a row's feature is the gradient of the last layer's weight,
    :math:`g = \partial L / \partial z \otimes h` for logits z and the layer's input h. From the
    residual r, at first the mean of all g, the row of the largest :math:`|g \cdot r|` is taken, its
    g made orthogonal to those before and of length 1, and its part taken out of r; n times. No g is
    formed: :math:`g_i \cdot g_j = (\partial L / \partial z_i \cdot \partial L / \partial z_j)
    (h_i \cdot h_j)`, of which K n are needed, and for the mean a matrix of the size of the layer.
    The CPU has a kernel for it; elsewhere it is some 20 operations of torch for each of the n rows.

    The authors' published code draws each row with a probability proportional to
    :math:`|g \cdot r|`, where the paper takes the largest. Where nothing is left of r, the rest is
    random. Rows come in the order in which they were taken.
    """

    @property
    def kind(self) -> Kind:
        """Deterministic."""
        return "deterministic"

    def of(self, scored: Scored, loss: TrainedLoss) -> DrawRule:
        """The rule for these rows."""
        logits, y, h = scored.logits, scored.y, scored.features
        assert h is not None
        dtype = logits.dtype if logits.dtype == torch.float64 else torch.float32
        with torch.enable_grad():
            z = logits.detach().to(dtype).requires_grad_()
            sound = y
            if y.dim() == 1:  # what is no class has no score, and is not looked at
                ignored = loss.ignored(y)
                sound = y.long().clamp(0, logits.shape[1] - 1)
                sound = sound if ignored is None else torch.where(ignored, y, sound)
            (dz,) = torch.autograd.grad(loss.losses(z, sound).sum(), z)
        return _Spanning(dz, h.detach().flatten(1).to(dtype))


class _Spanning(DrawRule):
    """The greedy choice for given factors dz [K, C] and h [K, D]."""

    def __init__(self, dz: Tensor, h: Tensor) -> None:
        self._dz, self._h = dz, h

    @property
    def kind(self) -> Kind:
        return "deterministic"

    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        K = scores.numel()
        has_score = scores > 0
        dz, h = (torch.where(has_score.unsqueeze(1), part, 0) for part in (self._dz, self._h))
        product = ((dz @ (dz.T @ h / K)) * h).sum(1)  # of each g with the residual
        order = draw(torch.ones_like(product), K, "race", seed).index
        index = spanning_rows(dz, h, product, has_score, order, n, _NOTHING[dz.dtype])
        return Draw(index, torch.ones_like(index, dtype=scores.dtype))
