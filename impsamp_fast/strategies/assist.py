"""The selectors and filters of Smedås (2021), called ASSIST.

What follows them is not weighted. Where a default is not known from the thesis, the docstring says
that it is ours.
"""

from typing import Any

from torch import nn

from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.draw_rules import LossSplit, TopQuantile
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.selector import Selector
from impsamp_fast.strategies.registry import register

BIBTEX = """
@mastersthesis{smedas2021assist,
  author = {Smed{\\aa}s, Halvor Bakken},
  title  = {{ASSIST}: Accuracy-driven Sampling Strategies for Improved Supervised Training},
  school = {Norwegian University of Science and Technology},
  year   = {2021}
}
"""


@register("top-k", level="batch", bibtex=BIBTEX)
def top_k(model: nn.Module, n: int, **options: Any) -> Selector:
    r"""The n rows of the largest loss, from the first step on.

    The loss of a row is :math:`L = -\log p_y`, with the probability of its class.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return Selector(model, n, score="loss", method="topk", correction="none", **options)


@register("top-q", level="batch", bibtex=BIBTEX)
def top_q(model: nn.Module, n: int, *, q: float = 0.5, **options: Any) -> Selector:
    r"""All rows whose loss is above the quantile q of the large batch's losses.

    They are :math:`\{i : L_i > Q_q(L_1, \dots, L_K)\}`, about (1 - q) K of K.

    Args:
        model: whose logits are scored.
        n: rows of a uniform step, if ``start`` has such steps; otherwise the large batch decides.
            A large batch must have at least n rows.
        q: the quantile, see :class:`~impsamp_fast.TopQuantile`. The default is ours.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return Selector(model, n, score="loss", method=TopQuantile(q), correction="none", **options)


@register("loss-weighted", level="batch", bibtex=BIBTEX)
def loss_weighted(model: nn.Module, n: int, **options: Any) -> Selector:
    r"""n different rows, drawn one after the other with probabilities proportional to their losses.

    The next one is row i with the probability :math:`L_i / \sum_j L_j`, where the sum is over the
    rows that were not drawn before.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return Selector(model, n, score="loss", method="race", correction="none", **options)


@register("loss-split", level="batch", bibtex=BIBTEX)
def loss_split(model: nn.Module, n: int, *, q: int = 2, p: float = 2.0, **options: Any) -> Selector:
    r"""n / q rows uniformly from each of q buckets of the rows, sorted by loss L.

    The buckets are q equal parts of the cumulative sum of :math:`L^p` in ascending order of L, so
    the bucket of the largest losses has the fewest rows.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        q: the number of buckets, see :class:`~impsamp_fast.LossSplit`.
        p: the power.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return Selector(model, n, score="loss", method=LossSplit(q, p), correction="none", **options)


@register("hard-accuracy", level="batch", bibtex=BIBTEX)
def hard_accuracy(model: nn.Module, n: int, **options: Any) -> Accumulator:
    r"""The misclassified rows, accumulated over raw batches until there are n.

    A row is kept if :math:`p_y \leq \max_{c \neq y} p_c`.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        options: of :class:`~impsamp_fast.Accumulator`.
    """
    return Accumulator(model, n, AccuracyFilter(), **options)


@register("soft-accuracy", level="batch", bibtex=BIBTEX)
def soft_accuracy(model: nn.Module, n: int, *, alpha: float = 0.1, **options: Any) -> Accumulator:
    r"""The rows that are misclassified, or correct by a margin of at most alpha, accumulated.

    A row is kept if :math:`p_y - \max_{c \neq y} p_c \leq \alpha`.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        alpha: the largest difference of the two highest probabilities of a correctly classified
            row that is kept. The default is ours.
        options: of :class:`~impsamp_fast.Accumulator`.
    """
    return Accumulator(model, n, AccuracyFilter(alpha), **options)
