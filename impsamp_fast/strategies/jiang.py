"""Selective backprop of Jiang et al. (2019)."""

from typing import Any

from torch import nn

from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.strategies.registry import register

BIBTEX = """
@article{jiang2019accelerating,
  author  = {Jiang, Angela H. and Wong, Daniel L.-K. and Zhou, Giulio and Andersen, David G. and
             Dean, Jeffrey and Ganger, Gregory R. and Joshi, Gauri and Kaminsky, Michael and
             Kozuch, Michael and Lipton, Zachary C. and Pillai, Padmanabhan},
  title   = {Accelerating Deep Learning by Focusing on the Biggest Losers},
  journal = {arXiv preprint arXiv:1910.00762},
  year    = {2019}
}
"""


@register("selective-backprop", level="batch", bibtex=BIBTEX)
def selective_backprop(
    model: nn.Module, n: int, *, beta: float = 1.0, history: int = 1024, **options: Any
) -> SelectiveBackprop:
    r"""Rows kept with a probability that grows with their loss, queued until there are n.

    A row of loss L is selected with probability :math:`F(L)^\beta`, where F(L) is the percentile
    rank of L among the last losses, independently of the others; selected rows have weight 1.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        beta: the selectivity.
        history: how many losses F is taken from.
        options: of :class:`~impsamp_fast.SelectiveBackprop`. The paper keeps every row in the first
            epoch: ``start=After(raw batches per epoch)``.
    """
    return SelectiveBackprop(model, n, beta=beta, history=history, **options)
