"""The subset of the largest reward variance, of Xu et al. (2025)."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from impsamp_fast._faults import OnFault, marked
from impsamp_fast.batch._user_score import ScoreFunction
from impsamp_fast.batch.draw_rules import MaxVariance
from impsamp_fast.batch.selector import Selector
from impsamp_fast.ops import row_stats
from impsamp_fast.strategies.registry import register

BIBTEX = """
@article{xu2025not,
  author  = {Xu, Yixuan Even and Savani, Yash and Fang, Fei and Kolter, J. Zico},
  title   = {Not All Rollouts are Useful: Down-Sampling Rollouts in {LLM} Reinforcement Learning},
  journal = {arXiv preprint arXiv:2504.13818},
  year    = {2025}
}
"""


@register("pods", level="batch", bibtex=BIBTEX)
def pods(
    model: nn.Module, n: int, *, reward: ScoreFunction | None = None, **options: Any
) -> Selector:
    r"""The n rows whose rewards have the largest variance, not weighted: some low, the rest high.

    PODS trains on n of m rollouts of a prompt, those that maximise the variance of the reward R,
    :math:`\max_{|S| = n} \mathrm{Var}_{i \in S} R_i`, which are always the k lowest and the n - k
    highest for some k. The mean over them is biased.
    Rewards that are known without a forward pass need no Selector:
    ``isf.MaxVariance()(rewards, n, seed=0).index``.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch; the paper takes 16 of 64 rollouts.
        reward: a score function as a Selector takes it, see ``score`` there; it may be negative.
            None is the probability of the true class, which is ours, for a classifier.
        options: of :class:`~impsamp_fast.Selector`.
    """
    if reward is None:
        reward = _p_true(options.get("ignore_index", -100), options.get("on_fault", "raise"))

    return Selector(
        model, n, score=_positive(reward), method=MaxVariance(), correction="none", **options
    )


def _p_true(ignore_index: int | None, on_fault: OnFault) -> ScoreFunction:
    """The probability of the true class, NaN for faulty rows that are skipped."""

    def p_true(logits: Tensor, y: Tensor) -> Tensor:
        return row_stats(logits, y, ignore_index=ignore_index).p_true

    return p_true if on_fault == "raise" else functools.partial(marked, p_true)


def _positive(reward: ScoreFunction) -> ScoreFunction:
    """The same rewards, shifted and scaled to be from 1 to 2: the best subset is the same."""

    @functools.wraps(reward)  # whose signature says what it takes
    def positive(logits: Tensor, y: Tensor, **further: Any) -> Tensor:
        rewards = reward(logits, y, **further)
        if not isinstance(rewards, Tensor) or not rewards.is_floating_point():
            return rewards  # which the Selector refuses
        exact = rewards.to(torch.float64)
        finite = exact.isfinite()
        low = torch.where(finite, exact, torch.inf).min()
        high = torch.where(finite, exact, -torch.inf).max()
        shifted = 1 + (exact - low) / (high - low).clamp(min=torch.finfo(torch.float64).tiny)
        return shifted.to(torch.promote_types(rewards.dtype, torch.float32))

    return positive
