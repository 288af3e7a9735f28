"""Evolved sampling, of Cheng, Li and Bian (2025)."""

from typing import Any

from torch import nn

from impsamp_fast.batch.evolved_score import EvolvedScore
from impsamp_fast.batch.selector import Selector
from impsamp_fast.strategies.registry import register

BIBTEX = """
@article{cheng2025data,
  author  = {Cheng, Ziheng and Li, Zhong and Bian, Jiang},
  title   = {Data-Efficient Training by Evolved Sampling},
  journal = {arXiv preprint arXiv:2509.23461},
  year    = {2025}
}
"""


@register("es", level="batch", bibtex=BIBTEX)
def evolved_sampling(
    model: nn.Module,
    n: int,
    *,
    beta1: float = 0.2,
    beta2: float = 0.9,
    size: int | None = None,
    **options: Any,
) -> Selector:
    r"""n different rows by their losses and those that their samples had before, not weighted.

    Rows are drawn one after the other with probabilities proportional to
    :math:`w = \beta_1 s + (1 - \beta_1) L` for the loss L and a moving average s of the sample's
    losses, see :class:`~impsamp_fast.EvolvedScore`. The mean over them is biased towards large
    losses. From memory of the paper. 4 bytes per sample; calls need ``index``.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch; from memory, the paper takes a quarter of the large batch.
        beta1: the share of s in the scores.
        beta2: how slowly s follows the losses.
        size: the number of samples in the data set, see :class:`~impsamp_fast.EvolvedScore`.
        options: of :class:`~impsamp_fast.Selector`.
    """
    score = EvolvedScore(beta1=beta1, beta2=beta2, size=size)
    return Selector(model, n, score=score, method="race", correction="none", **options)
