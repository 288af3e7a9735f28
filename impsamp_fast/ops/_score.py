"""Scores: one number for each row of logits."""

from types import SimpleNamespace

from torch import Tensor

from impsamp_fast.ops._call import operator
from impsamp_fast.ops._fakes import check_features, check_rows, fake_of, statistic
from impsamp_fast.ops._status import raise_if_nan

_score = operator("score", Tensor)


def score(
    logits: Tensor,
    target: Tensor,
    kind: str = "grad_norm",
    features: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    out: Tensor | None = None,
    validate: bool = False,
) -> Tensor:
    """How much each row has to teach, as one number; only what ``kind`` needs is computed.

    Args:
        logits: ``[..., C]``, as in :func:`row_stats`.
        target: ``[...]`` or ``[..., C]``, as in :func:`row_stats`.
        kind: ``"loss"``; ``"grad_norm"``; ``"last_layer"``, the norm of the gradient of a last
            linear layer's weight and bias, ``grad_norm * sqrt(1 + |h|^2)`` for its input h;
            ``"p_wrong"`` = 1 - p_true; ``"margin"`` = 1 - margin, so that a small margin scores
            high; ``"entropy"``.
        features: ``[..., D]``, floating point: the input h of the last linear layer, for
            ``"last_layer"`` and nothing else.
        label_smoothing: as in :func:`row_stats`.
        class_weight: as in :func:`row_stats`.
        ignore_index: rows with this class index have score 0, whatever the kind.
        out: where to put the result, as in :func:`row_stats`.
        validate: as in :func:`row_stats`.

    Returns:
        ``[...]``, not negative, float64 for float64 logits and float32 for all others.

    Raises:
        IndexError: as in :func:`row_stats`.
        ValueError: as in :func:`row_stats`; an unknown kind; features missing or not asked for.
        TypeError: as in :func:`row_stats`.
    """
    arguments = (logits, target, kind, features, label_smoothing, class_weight, ignore_index)
    found = _score(arguments, out)
    if validate:
        raise_if_nan("score", found, arguments)
    return found


@fake_of("score", ("score",))
def _fake(given: SimpleNamespace) -> tuple[Tensor, ...]:
    check_rows(given)
    check_features(given, "kind")
    return (statistic(given.logits),)
