"""The importance sampling of Katharopoulos and Fleuret (2018), and its biased variant (2017)."""

from typing import Any

from torch import nn

from impsamp_fast.batch.adaptive import ConstantTime, ConstantVariance
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import StartRule, VarianceReduction
from impsamp_fast.strategies.registry import register

BIBTEX = """
@inproceedings{katharopoulos2018not,
  author    = {Katharopoulos, Angelos and Fleuret, Fran{\\c{c}}ois},
  title     = {Not All Samples Are Created Equal: Deep Learning with Importance Sampling},
  booktitle = {Proceedings of the 35th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {80},
  pages     = {2525--2534},
  year      = {2018}
}
"""

BIASED_BIBTEX = """
@article{katharopoulos2017biased,
  author  = {Katharopoulos, Angelos and Fleuret, Fran{\\c{c}}ois},
  title   = {Biased Importance Sampling for Deep Neural Network Training},
  journal = {arXiv preprint arXiv:1706.00043},
  year    = {2017}
}
"""


@register("kf18", level="batch", bibtex=BIBTEX)
def kf18(
    model: nn.Module,
    n: int,
    *,
    threshold: float | None = None,
    momentum: float = 0.9,
    start: StartRule | None = None,
    **options: Any,
) -> Selector:
    r"""n draws with replacement by the gradient norm, weighted to stay unbiased.

    Score (section 3.2): :math:`G_i = |\partial L_i / \partial z_i|` with respect to the logits z,
    the upper bound of the gradient norm up to a constant. Row i has the probability
    :math:`g_i = G_i / \sum_j G_j` in each draw and the weight :math:`1 / (K g_i)`.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        threshold: rows are drawn by importance in a step if the moving average of
            :math:`\tau = \sqrt{K \sum_i g_i^2}` is above it (section 3.3, algorithm 1). None is
            the break-even (K + 3 n) / (3 n); the paper's CIFAR runs use 1.5.
        momentum: of the average.
        start: another start rule than that.
        options: of :class:`~impsamp_fast.Selector`.
    """
    rule = VarianceReduction(threshold, momentum) if start is None else start
    return Selector(model, n, start=rule, **options)


@register("kf18-biased", level="batch", bibtex=BIBTEX + BIASED_BIBTEX)
def kf18_biased(
    model: nn.Module,
    n: int,
    *,
    k: float = 0.5,
    threshold: float | None = None,
    momentum: float = 0.9,
    start: StartRule | None = None,
    **options: Any,
) -> Selector:
    r"""As "kf18", with weights that favour hard rows.

    The weights are :math:`(1 / (K g_i))^k`, rescaled so that the sum of weight times score over the
    drawn rows stays what it is for k = 1.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        k: 1 is unbiased; the smaller, the more the largest losses count. 0.5 in the paper of 2017.
        threshold: as in "kf18".
        momentum: likewise.
        start: likewise.
        options: of :class:`~impsamp_fast.Selector`, except for ``correction``, which is k.

    Raises:
        TypeError: if ``correction`` is given.
    """
    if "correction" in options:
        raise TypeError(
            f"correction is {options['correction']!r}, but the weights of kf18-biased follow from "
            "k: give k instead"
        )
    rule = VarianceReduction(threshold, momentum) if start is None else start
    return Selector(model, n, correction=k, start=rule, **options)


@register("constant-time", level="batch", bibtex=BIBTEX)
def constant_time(model: nn.Module, n: int, **options: Any) -> ConstantTime:
    r"""In the time of a uniform step: fewer rows are trained on, and more scored. Unbiased.

    If K rows are scored, :math:`n - K / (1 + b)` are trained on, with a backward pass that takes as
    long as b forward passes. From the code of the authors of "kf18"; the paper does not have it.

    Args:
        model: whose logits are scored.
        n: rows of a uniform mini-batch.
        options: of :class:`~impsamp_fast.ConstantTime`, whose defaults are those of that code.
    """
    return ConstantTime(model, n, **options)


@register("constant-variance", level="batch", bibtex=BIBTEX)
def constant_variance(model: nn.Module, n: int, **options: Any) -> ConstantVariance:
    r"""At the variance of a uniform step: n rows are scored, and fewer trained on. Unbiased.

    Of n rows :math:`(1 / \tau + 0.2) n` are trained on. From the code of the authors of "kf18",
    whose :math:`\tau` it is; the paper does not have it.

    Args:
        model: whose logits are scored.
        n: rows of a uniform mini-batch, and rows to score.
        options: of :class:`~impsamp_fast.ConstantVariance`, whose defaults are those of that code.
    """
    return ConstantVariance(model, n, **options)
