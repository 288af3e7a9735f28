"""Diversified batch selection, of Hong et al. (2024)."""

from typing import Any

from torch import nn

from impsamp_fast.batch.diversity import Diversity
from impsamp_fast.batch.selector import Selector
from impsamp_fast.strategies.registry import register

BIBTEX = """
@inproceedings{hong2024diversified,
  author    = {Hong, Feng and Lyu, Yueming and Yao, Jiangchao and Zhang, Ya and Tsang, Ivor W. and
               Wang, Yanfeng},
  title     = {Diversified Batch Selection for Training Acceleration},
  booktitle = {International Conference on Machine Learning},
  year      = {2024}
}
"""


@register("divbs", level="batch", bibtex=BIBTEX)
def divbs(
    model: nn.Module, n: int, *, layer: str | nn.Module | None = None, **options: Any
) -> Selector:
    r"""The n rows whose last layer's gradients span most of the mean gradient, not weighted.

    They are taken one by one: the next one has the largest :math:`|g \cdot r|`, where g is its
    gradient and r what the rows before have left of the mean, see
    :class:`~impsamp_fast.Diversity`. The mean over them is biased. The paper takes 10 to 30% of a
    large batch of 320 rows.

    Args:
        model: whose logits are scored; it returns the output of the layer as it is.
        n: rows per mini-batch.
        layer: the last layer or its qualified name; None is the ``nn.Linear`` that was registered
            last.
        options: of :class:`~impsamp_fast.Selector`.
    """
    return Selector(model, n, method=Diversity(), correction="none", layer=layer, **options)
