"""From the probabilities of drawn rows to the weights of their losses."""

from typing import Literal

import torch
from torch import Tensor
from torch.compiler import is_compiling

from impsamp_fast._extension import _C
from impsamp_fast.ops._arguments import explain

Kind = Literal["with replacement", "without replacement", "deterministic"]


def corrected(
    prob: Tensor,
    drawn_by: Tensor,
    rows: int,
    kind: Kind,
    correction: str | float = "unbiased",
) -> Tensor:
    """The weights that :func:`select` gives to drawn rows, for a draw of your own.

    With n drawn of K rows, p = ``prob``, w = ``drawn_by``, and u = 1 / (K p) with replacement or
    n / (K p) without:

    - ``"unbiased"``: u;
    - ``"normalized"``: n u / sum(u);
    - ``"none"``, and any correction of a deterministic draw: 1;
    - a float k: u^k sum(u w) / sum(u^k w) (the biased variant of Katharopoulos and Fleuret 2018).

    Args:
        prob: ``[n]``, floating point: with replacement the row's probability in one draw, without
            its probability to be among the n.
        drawn_by: ``[n]``, floating point: the weights that the rows were drawn by.
        rows: K, at least 1.
        kind: ``"with replacement"``, ``"without replacement"`` or ``"deterministic"``.
        correction: as above.

    Returns:
        ``[n]``, float64 for a float64 ``prob`` and float32 for all others.

    Raises:
        ValueError: a shape, device or name does not fit, or the power is not finite.
        TypeError: a dtype or the kind of an argument does not fit.
    """
    exponent: float | None = None
    rule = correction
    if isinstance(correction, (float, int)):
        rule, exponent = "unbiased", correction
    operators = torch.ops.impsamp_fast if is_compiling() else _C
    try:
        found: Tensor = operators.corrected(prob, drawn_by, rows, kind, rule, exponent)
    except TypeError as error:
        explain(error, locals())
    return found


def _fake(
    prob: Tensor,
    drawn_by: Tensor,
    rows: int,
    kind: str,
    correction: str = "unbiased",
    exponent: float | None = None,
) -> Tensor:
    dtype = torch.float64 if prob.dtype == torch.float64 else torch.float32
    torch._check(  # type: ignore[no-untyped-call]
        prob.dim() == 1, lambda: f"prob has shape {prob.shape}, but must be [n]"
    )
    torch._check(  # type: ignore[no-untyped-call]
        drawn_by.shape == prob.shape,
        lambda: f"drawn_by has shape {drawn_by.shape}, but prob has {prob.shape}",
    )
    return prob.new_empty(prob.shape, dtype=dtype)


torch.library.register_fake("impsamp_fast::corrected", _fake)
