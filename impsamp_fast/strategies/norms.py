"""Norms of the gradient of a part of the network, from a forward pass alone."""

from typing import Any

from torch import nn

from impsamp_fast.batch.selector import Selector
from impsamp_fast.strategies.katharopoulos import BIBTEX as KATHAROPOULOS
from impsamp_fast.strategies.registry import register

GOODFELLOW = """
@article{goodfellow2015efficient,
  author  = {Goodfellow, Ian},
  title   = {Efficient Per-Example Gradient Computations},
  journal = {arXiv preprint arXiv:1510.01799},
  year    = {2015}
}
"""

PAUL = """
@inproceedings{paul2021deep,
  author    = {Paul, Mansheej and Ganguli, Surya and Dziugaite, Gintare Karolina},
  title     = {Deep Learning on a Data Diet: Finding Important Examples Early in Training},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021}
}
"""


@register("last-layer-norm", level="batch", bibtex=KATHAROPOULOS + GOODFELLOW)
def last_layer_norm(
    model: nn.Module, n: int, *, layer: str | nn.Module | None = None, **options: Any
) -> Selector:
    r"""n draws with replacement by the norm of the last layer's gradient, weighted to be unbiased.

    With h the input of the last linear layer, the gradient of its weight is an outer product
    (Goodfellow 2015), so the norm for weight and bias is
    :math:`|p - \mathrm{onehot}(y)| \sqrt{1 + |h|^2}`, without a gradient being formed.

    Args:
        model: whose logits are scored; it returns the output of the layer as it is.
        n: rows per mini-batch.
        layer: the layer or its qualified name; None is the ``nn.Linear`` that was registered last.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return Selector(model, n, score="last_layer", layer=layer, **options)


@register("el2n", level="batch", bibtex=PAUL)
def el2n(model: nn.Module, n: int, **options: Any) -> Selector:
    r"""The n rows of the largest error norm :math:`|p - \mathrm{onehot}(y)|`, not weighted.

    Paul et al. (2021) keep the samples of the data set with the highest score, averaged over
    several networks early in training; this is the same choice within each large batch, by the
    network that is trained.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return Selector(model, n, score="grad_norm", method="topk", correction="none", **options)
