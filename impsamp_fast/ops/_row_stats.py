"""The statistics of rows of logits."""

from types import SimpleNamespace
from typing import NamedTuple

from torch import Tensor

from impsamp_fast.ops._call import operator
from impsamp_fast.ops._fakes import check_rows, fake_of, statistic
from impsamp_fast.ops._status import raise_if_nan


class RowStats(NamedTuple):
    """The statistics of rows, each of the rows' shape; see :func:`row_stats`."""

    loss: Tensor
    grad_norm: Tensor
    p_true: Tensor
    margin: Tensor
    entropy: Tensor


_row_stats = operator("row_stats", RowStats)


def row_stats(
    logits: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    out: RowStats | None = None,
    validate: bool = False,
) -> RowStats:
    """The statistics of each row of logits, in one pass.

    With p = softmax(logits), t the target with label smoothing and class weights applied as
    ``torch.nn.functional.cross_entropy`` does, and T = sum t:

    - ``loss`` = -sum t log p;
    - ``grad_norm`` = ``|T p - t|``, the norm of the loss's gradient with respect to the logits:
      up to a constant the upper bound of Katharopoulos and Fleuret (2018, section 3.2) on the
      gradient norm, exactly the norm of the output bias's gradient, and the EL2N score of Paul et
      al. (2021);
    - ``p_true`` = p_y, for class probabilities sum t p (t as given);
    - ``margin`` = p_y - max_{j != y} p_j, for class probabilities with y the most probable class;
    - ``entropy`` = -sum p log p, in nats.

    In float32 the relative errors of ``loss``, ``grad_norm`` and ``p_true`` stay below 2e-6
    wherever they are normal numbers, also for rows so confident that ``cross_entropy`` returns 0.
    With label smoothing or class probabilities ``grad_norm`` vanishes as p comes close to t / T:
    its error there is at most 2e-6 of itself plus 2^-42 of ``T |p - onehot(y)|``; in float64,
    2e-14 of that. The relative error of ``entropy`` stays below 2e-6 where the target is the most
    probable class; elsewhere, and for ``margin``, the absolute error does.

    Args:
        logits: ``[..., C]``, float32, float64, float16 or bfloat16, any strides. -inf masks
            a class.
        target: class indices ``[...]`` (int64, int32, int16, int8 or uint8) or class
            probabilities ``[..., C]`` (floating point), each row of which sums to 1: within
            2^-12 for float64 and float32, 2^-8 + C 2^-24 for float16, 2^-5 for bfloat16.
        label_smoothing: in [0, 1].
        class_weight: ``[C]``, floating point, finite and not negative. It scales ``loss`` and
            ``grad_norm``.
        ignore_index: rows with this class index have all statistics 0. With None no row is
            ignored.
        out: where to put the results: contiguous, each with a result's shape, dtype and device
            and in memory of its own. It is what is returned.
        validate: on an accelerator, wait for it and raise what is wrong with the values, instead
            of marking it with NaN.

    Returns:
        Five tensors ``[...]``, float64 for float64 logits and float32 for all others.

    Raises:
        IndexError: a class index is out of range.
        ValueError: a shape, device or value does not fit; a logit is NaN or +inf; a row is -inf
            throughout; class probabilities do not sum to 1.
        TypeError: a dtype or the kind of an argument does not fit.
        RuntimeError: ``torch.func`` is to differentiate the result.
    """
    arguments = (logits, target, label_smoothing, class_weight, ignore_index)
    stats = _row_stats(arguments, out)
    if validate:
        raise_if_nan("row_stats", stats.loss, arguments)
    return stats


@fake_of("row_stats", RowStats._fields)
def _fake(given: SimpleNamespace) -> tuple[Tensor, ...]:
    check_rows(given)
    return tuple(statistic(given.logits) for _ in RowStats._fields)
