"""MentorNet, of Jiang et al. (2018)."""

from typing import Any

from torch import Tensor, nn

from impsamp_fast._checks import check_integer
from impsamp_fast.batch.draw_rules import ScoreAsWeight
from impsamp_fast.batch.learned_score import LearnedScore
from impsamp_fast.batch.mentor import Curriculum, MentorScore
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After, Always, StartRule
from impsamp_fast.strategies.registry import register

BIBTEX = """
@inproceedings{jiang2018mentornet,
  author    = {Jiang, Lu and Zhou, Zhengyuan and Leung, Thomas and Li, Li-Jia and Fei-Fei, Li},
  title     = {{MentorNet}: Learning Data-Driven Curriculum for Very Deep Neural Networks on
               Corrupted Labels},
  booktitle = {International Conference on Machine Learning},
  year      = {2018}
}
"""


@register("mentornet-pd", level="batch", bibtex=BIBTEX)
def mentornet_predefined(
    model: nn.Module,
    n: int,
    *,
    percentile: float = 0.75,
    slope: float = 0.0,
    decay: float = 0.9,
    weights: bool = False,
    **options: Any,
) -> Selector:
    r"""n different rows of small loss by a predefined curriculum, for data with wrong labels.

    Rows are drawn by :math:`v = \min(1, \max(0, 1 - (L - \lambda_1) / \lambda_2))`, with
    :math:`\lambda_1` the moving average of the p-th percentile of the losses L, see
    :class:`~impsamp_fast.Curriculum`. The mean over them is biased towards small losses, which is
    the aim. The paper weighs all rows by v instead: ``weights=True``.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        percentile: p; the paper's is 0.75.
        slope: lambda_2; for 0 the rows of :math:`L \le \lambda_1`, all alike.
        decay: of the moving average.
        weights: whether all rows of the large batch are trained on, with weights v.
        options: of :class:`~impsamp_fast.Selector`. The authors begin after a fifth of the
            training, in which they drop rows at random: ``start=After(steps // 5)``.
    """
    score = Curriculum(percentile=percentile, slope=slope, decay=decay)
    return _selector(model, n, score, weights, options)


@register("mentornet", level="batch", bibtex=BIBTEX)
def mentornet(
    model: nn.Module,
    n: int,
    *,
    percentile: float = 0.75,
    slope: float = 0.0,
    decay: float = 0.9,
    clean: Tensor | None = None,
    steps: int | None = None,
    rate: float = 0.01,
    weights: bool = False,
    start: StartRule | None = None,
    model_group: Any = None,
    **options: Any,
) -> Selector:
    r"""n different rows by a small network's weights, which it learns along, for wrong labels.

    The network sees the loss, its difference to the moving p-th percentile, the label and the
    percent of the training; it learns to be the curriculum of "mentornet-pd", or with ``clean`` to
    tell right from wrong labels, see :class:`~impsamp_fast.MentorScore`: a row has the weight
    :math:`v = f(L, L - \lambda_1, y, t)`. The mean over the rows is biased, which is the aim.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        percentile: p; the paper's is 0.75.
        slope: lambda_2 of the curriculum.
        decay: of the moving average.
        clean: [N] by sample number, 1 for right, 0 for wrong labels and NaN where that is not
            known; None learns the curriculum.
        steps: of the whole training; the network's percent begins with those that ``start`` lets go
            by, if it is :class:`~impsamp_fast.After`, and goes on with each that is scored.
        rate: of the network's Adam.
        weights: whether all rows of the large batch are trained on, with the network's weights.
        start: None is after a fifth of ``steps``, the paper's burn-in, or at once without these.
        model_group: a process group whose ranks have one network, see ``group`` of
            :class:`~impsamp_fast.MentorScore`.
        options: of :class:`~impsamp_fast.Selector`.
    """
    if start is None:
        start = Always() if steps is None else After(check_integer("steps", steps, 1) // 5)
    score = MentorScore(
        percentile=percentile,
        slope=slope,
        decay=decay,
        clean=clean,
        **_in_large_batches(steps, start, options.get("batches_per_pool", 1)),
        rate=rate,
        seed=options.get("seed"),
        group=model_group,
    )
    return _selector(model, n, score, weights, options | {"start": start})


def _in_large_batches(steps: int | None, start: StartRule, pool: int) -> dict[str, Any]:
    """The steps of the training and of its burn-in, where so many share a large batch."""
    if steps is None:
        return {}
    pool = check_integer("batches_per_pool", pool, 1)
    burn_in = start.steps if isinstance(start, After) else 0
    return {"steps": -(-steps // pool), "burn_in": -(-burn_in // pool)}


def _selector(
    model: nn.Module, n: int, score: LearnedScore, weights: bool, options: dict[str, Any]
) -> Selector:
    if weights:
        return Selector(model, n, score=score, method=ScoreAsWeight(), **options)
    return Selector(model, n, score=score, method="race", correction="none", **options)
