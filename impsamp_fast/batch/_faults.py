"""Faulty rows of a step: found on every device, and told or left out."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from impsamp_fast._faults import OnFault, marked
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.ops._status import first_fault, row_error

# Bytes of a step's rows that are kept to explain what is wrong with one.
_MOST_KEPT = 1 << 20


class Found(NamedTuple):
    """What was found wrong with a step's rows and has not been raised.

    Attributes:
        status: [] int64 on an accelerator, 0 if all is well, else what the error is made of.
        explain: makes the error for another status than 0.
        skipped: [] int64, how many faulty rows were left out; None where faults raise.
    """

    status: Tensor | None = None
    explain: Callable[[int], Exception] | None = None
    skipped: Tensor | None = None


def explainer(
    repeat: Callable[..., object],
    tensors: tuple[Tensor | None, ...],
    otherwise: Callable[[int], Exception],
) -> Callable[[int], Exception]:
    """What makes the error of a status that is not 0; it keeps the tensors until that is known.

    Args:
        repeat: called with the tensors on the CPU, where it raises the error.
        tensors: of an accelerator.
        otherwise: makes the error where these are too large to be kept, or where it does not.
    """
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) > _MOST_KEPT:
        return otherwise
    return partial(_explain, repeat, tensors, otherwise)


def _explain(
    repeat: Callable[..., object],
    tensors: tuple[Tensor | None, ...],
    otherwise: Callable[[int], Exception],
    status: int,
) -> Exception:
    try:
        repeat(*(None if tensor is None else tensor.cpu() for tensor in tensors))
    except (ValueError, IndexError) as error:
        return error
    return otherwise(status)


class Examined(NamedTuple):
    """Statistics of rows, those that must not be selected, [K] bool or None, and faults."""

    statistics: Any
    left_out: Tensor | None
    found: Found


def examined(
    operator: Callable[..., Any], logits: Tensor, y: Tensor, loss: TrainedLoss, on_fault: OnFault
) -> Examined:
    """The statistics of rows whose faults are told or left out.

    The CPU raises what is wrong with a row. On an accelerator all rows are left out if one is
    faulty, as if they had never come; in both places the faulty ones alone if faults are skipped.

    Args:
        operator: ``row_stats``, or a function that returns the losses, called with the options of
            the loss.
        logits: [K, C].
        y: their targets.
        loss: what is trained.
        on_fault: see :class:`~impsamp_fast.Selector`.
    """
    options = loss.options(y.device)
    ignored = loss.ignored(y)

    def statistics_of(logits: Tensor, y: Tensor) -> Any:
        return operator(logits, y, **options)

    if on_fault == "raise" and logits.is_cpu:
        return Examined(statistics_of(logits, y), ignored, Found())
    if on_fault == "raise":
        statistics = statistics_of(logits, y)
    else:
        statistics = marked(statistics_of, logits, y)
    faulty = (statistics if isinstance(statistics, Tensor) else statistics.loss).isnan()
    if on_fault == "raise":
        on_cpu = partial(operator, **(options | {"class_weight": _on_cpu(options["class_weight"])}))
        found = Found(first_fault(faulty), explainer(on_cpu, (logits, y), row_error))
        faulty = faulty.any().expand(faulty.shape)
    else:
        found = Found(skipped=faulty.sum())
    return Examined(statistics, faulty if ignored is None else faulty | ignored, found)


def _on_cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.cpu()


def without_class(y: Tensor, classes: int, ignored: Tensor | None) -> Tensor | None:
    """Which rows have a class index that is ignored or none of the classes, [K] bool.

    None for class probabilities and for other targets than classes.
    """
    if y.dim() != 1 or y.is_floating_point():
        return ignored
    return (y < 0) | (y >= classes) if ignored is None else (y < 0) | (y >= classes) | ignored
