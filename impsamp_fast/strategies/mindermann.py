"""RHO-loss, of Mindermann et al. (2022)."""

from typing import Any

import torch
from torch import Tensor, nn

from impsamp_fast.batch.reducible_loss import ReducibleLoss
from impsamp_fast.batch.selector import Selector
from impsamp_fast.strategies.registry import register

BIBTEX = """
@inproceedings{mindermann2022prioritized,
  author    = {Mindermann, S{\\"o}ren and Brauner, Jan M. and Razzak, Muhammed T. and Sharma,
               Mrinank and Kirsch, Andreas and Xu, Winnie and H{\\"o}ltgen, Benedikt and Gomez,
               Aidan N. and Morisot, Adrien and Farquhar, Sebastian and Gal, Yarin},
  title     = {Prioritized Training on Points that are Learnable, Worth Learning, and Not Yet
               Learnt},
  booktitle = {International Conference on Machine Learning},
  year      = {2022}
}
"""


@register("rho-loss", level="batch", bibtex=BIBTEX)
def rho_loss(
    model: nn.Module,
    n: int,
    *,
    irreducible: Tensor | nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    holdout: tuple[Any, Tensor] | None = None,
    model_group: Any = None,
    **options: Any,
) -> Selector:
    r"""The n rows of the largest loss less the loss of a model that knows other data, not weighted.

    That is :math:`L - L_{ho}`, see :class:`~impsamp_fast.ReducibleLoss`: rows that are learned and
    rows that nothing can predict, such as those with wrong labels, come last. The mean over the
    rows is biased. The paper takes 32 of 320 rows; its small model is trained on held-out data
    before, and its losses are computed once.

    Args:
        model: whose logits are scored.
        n: rows per mini-batch.
        irreducible: the other model's losses by sample number, as of
            :func:`~impsamp_fast.irreducible_losses`, for which calls need ``index``; or that model.
        optimizer: of that model, to train it in the same loop.
        holdout: x and y, which the optimiser trains it with.
        model_group: a process group whose ranks train one such model, see ``group`` of
            :class:`~impsamp_fast.ReducibleLoss`.
        options: of :class:`~impsamp_fast.Selector`.
    """
    score = ReducibleLoss(
        irreducible,
        optimizer=optimizer,
        holdout=holdout,
        n=n,
        seed=options.get("seed"),
        group=model_group,
    )
    return Selector(model, n, score=score, method="topk", correction="none", **options)
