"""AutoAssist, of Zhang, Yu and Dhillon (2019)."""

from typing import Any

from torch import nn

from impsamp_fast.batch.autoassist import AutoAssist
from impsamp_fast.strategies.registry import register

BIBTEX = """
@inproceedings{zhang2019autoassist,
  author    = {Zhang, Jiong and Yu, Hsiang-Fu and Dhillon, Inderjit S.},
  title     = {{AutoAssist}: A Framework to Accelerate Training of Deep Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {32},
  year      = {2019}
}
"""


@register("autoassist", level="batch", bibtex=BIBTEX)
def autoassist(model: nn.Module, n: int, **options: Any) -> AutoAssist:
    r"""Rows that a small linear assistant expects to have a large loss, queued until there are n.

    A row is selected with probability :math:`b + (1 - b)\,\sigma(W \cdot x + U_y)`, without a
    forward pass of the model; W and U learn from the losses of training which are above their
    average, see :class:`~impsamp_fast.AutoAssist`. Not weighted: the mean is biased.

    Args:
        model: is called once, for the number of classes.
        n: rows per mini-batch.
        options: of :class:`~impsamp_fast.AutoAssist`, whose defaults are those of the authors'
            code.
    """
    return AutoAssist(model, n, **options)
