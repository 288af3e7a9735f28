"""From the probabilities of drawn rows to the weights of their losses."""

from types import SimpleNamespace
from typing import Literal

from torch import Tensor

from impsamp_fast.ops._arguments import power
from impsamp_fast.ops._call import operator
from impsamp_fast.ops._fakes import check_like, check_numbers, check_that, fake_of, result_dtype

Kind = Literal["with replacement", "without replacement", "deterministic"]


_corrected = operator("corrected", Tensor)


def kind_of(method: str) -> Kind:
    """How a method of :func:`draw` draws."""
    if method == "topk":
        return "deterministic"
    return "without replacement" if method in ("race", "pps") else "with replacement"


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
    if isinstance(correction, str):
        rule, exponent = correction, None
    else:
        rule, exponent = "unbiased", power(correction)
    arguments = (prob, drawn_by, rows, kind, rule, exponent)
    return _corrected(arguments, None)


@fake_of("corrected", ("weight",))
def _fake(given: SimpleNamespace) -> tuple[Tensor, ...]:
    prob, rows = given.prob, given.rows
    check_numbers("prob", prob, "[n]")
    check_numbers("drawn_by", given.drawn_by, "[n]")
    check_like("drawn_by", given.drawn_by, "prob", prob)
    check_that(rows >= 1, lambda: f"rows is {rows}, but must be at least 1")
    return (prob.new_empty(prob.shape, dtype=result_dtype(prob)),)
