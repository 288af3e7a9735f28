"""The strategies of Knutsson, Unnebäck, Jönsson and Eilertsen (2023)."""

from typing import Any

from torch import nn

from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import LossRatio, StartRule
from impsamp_fast.strategies.registry import register

BIBTEX = """
@inproceedings{knutsson2023cdf,
  author    = {Knutsson, Alex and Unneb{\\"a}ck, Jakob and J{\\"o}nsson, Daniel and
               Eilertsen, Gabriel},
  title     = {{CDF}-Based Importance Sampling and Visualization for Neural Network Training},
  booktitle = {Eurographics Workshop on Visual Computing for Biology and Medicine},
  publisher = {The Eurographics Association},
  year      = {2023},
  doi       = {10.2312/vcbm.20231212}
}
"""


@register("highest-loss", level="batch", bibtex=BIBTEX)
def highest_loss(
    model: nn.Module,
    n: int,
    *,
    threshold: float = 0.42,
    start: StartRule | None = None,
    **options: Any,
) -> Selector:
    r"""The n rows of the largest loss, not weighted.

    The loss of a row is :math:`L = -\log p_y`, with the probability of its class.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch; the paper takes 128 of 1024.
        threshold: rows are drawn uniformly until the loss of a mini-batch is below this share of
            the first one, see :class:`~impsamp_fast.LossRatio`. The paper's: 0.26 for Two Circles,
            0.42 for MNIST, 0.50 for CIFAR-10, 0.74 for PatchCamelyon.
        start: another start rule than that.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return _selector(model, n, "loss", "topk", threshold, start, options)


@register("highest-loss-cdf", level="batch", bibtex=BIBTEX)
def highest_loss_cdf(
    model: nn.Module,
    n: int,
    *,
    threshold: float = 0.42,
    start: StartRule | None = None,
    **options: Any,
) -> Selector:
    r"""n rows drawn from the cumulative distribution of the losses, not weighted.

    Row i has the probability :math:`L_i / \sum_j L_j` in each of n draws with replacement: a
    uniform number is looked up in the cumulative sum of the losses.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        threshold: as in "highest-loss".
        start: likewise.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return _selector(model, n, "loss", "multinomial", threshold, start, options)


@register("gradient-norm", level="batch", bibtex=BIBTEX)
def gradient_norm(
    model: nn.Module,
    n: int,
    *,
    threshold: float = 0.42,
    start: StartRule | None = None,
    **options: Any,
) -> Selector:
    r"""The n rows of the largest gradient norm, not weighted.

    The authors differentiate the loss of each row with respect to the output bias, which gives
    :math:`|p - \mathrm{onehot}(y)|` for probabilities p.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        threshold: as in "highest-loss".
        start: likewise.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return _selector(model, n, "grad_norm", "topk", threshold, start, options)


@register("gradient-norm-cdf", level="batch", bibtex=BIBTEX)
def gradient_norm_cdf(
    model: nn.Module,
    n: int,
    *,
    threshold: float = 0.42,
    start: StartRule | None = None,
    **options: Any,
) -> Selector:
    r"""n rows drawn from the cumulative distribution of the gradient norms, not weighted.

    Row i has the probability :math:`G_i / \sum_j G_j` in each of n draws with replacement, with the
    norm :math:`G = |p - \mathrm{onehot}(y)|` of the output bias's gradient.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        threshold: as in "highest-loss".
        start: likewise.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return _selector(model, n, "grad_norm", "multinomial", threshold, start, options)


def _selector(
    model: nn.Module,
    n: int,
    score: str,
    method: str,
    threshold: float,
    start: StartRule | None,
    options: dict[str, Any],
) -> Selector:
    return Selector(
        model,
        n,
        score=score,
        method=method,
        correction="none",
        start=LossRatio(threshold) if start is None else start,
        **options,
    )
