"""What a training step shows of its rows: checked but for the values, which may be elsewhere."""

from collections.abc import Container
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from impsamp_fast._checks import check_index_form, check_losses, kind_of
from impsamp_fast._faults import OnFault, marked
from impsamp_fast.ops import RowStats, row_stats

# What a step can show.
SHOWN = ("loss", "p_true", "labels")

# What the operator takes for the predicted label of a faulty row.
_NO_LABEL = -(1 << 63)


class Shown(NamedTuple):
    """What a step has shown: [n] each, None for what is not wanted."""

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    losses: Tensor | None
    p_true: Tensor | None
    labels: Tensor | None


def shown(
    index: Tensor,
    logits: Tensor | None,
    target: Tensor | None,
    losses: Tensor | None,
    *,
    wanted: Container[str],
    classes: int | None,
    on_fault: OnFault,
) -> Shown:
    """What is wanted of a step, which is told as to ``SampleMemory.update``.

    Args:
        index: [n].
        logits: [n, C].
        target: [n] or [n, C].
        losses: [n].
        wanted: which of ``SHOWN``.
        classes: C, if it is known.
        on_fault: see :class:`~impsamp_fast.SampleMemory`.
    """
    check_index_form(index)
    missing = [name for name in SHOWN if name in wanted]
    loss = None
    if losses is not None and "loss" in missing:
        check_losses(losses, index.shape[0])
        loss = losses.detach()
        missing.remove("loss")
    if not missing:
        return Shown(index, loss, None, None)
    logits = _checked_logits(index, logits, missing[0])
    if classes is not None and logits.shape[1] != classes:
        raise ValueError(
            f"logits has {logits.shape[1]} classes, but this SampleMemory has {classes}"
        )
    labels = logits.argmax(1) if "labels" in missing else None
    if labels is not None and missing == ["labels"]:
        # No logit is the largest of a faulty row.
        faulty = _statistics(logits, labels, on_fault).loss.isnan()
        return Shown(index, loss, None, labels.masked_fill(faulty, _NO_LABEL))
    stats = _statistics(logits, _checked_target(index, target, missing[0]), on_fault)
    if "loss" in missing:
        loss = stats.loss
    return Shown(index, loss, stats.p_true if "p_true" in missing else None, labels)


def statistic(
    name: str, index: Tensor, logits: Tensor | None, target: Tensor | None, on_fault: OnFault
) -> Tensor:
    """A statistic of a step's rows, [n], by the name that it has in :class:`RowStats`."""
    check_index_form(index)
    logits, target = _checked_logits(index, logits, name), _checked_target(index, target, name)
    value: Tensor = getattr(_statistics(logits, target, on_fault), name)
    return value


def _statistics(logits: Tensor, target: Tensor, on_fault: OnFault) -> RowStats:
    """The statistics of rows, which all have a target."""
    operator = partial(row_stats, ignore_index=None)
    return operator(logits, target) if on_fault == "raise" else marked(operator, logits, target)


def _checked_logits(index: Tensor, logits: Any, needed_for: str) -> Tensor:
    if logits is None:
        raise ValueError(f"logits is None, but is needed for {needed_for!r}")
    if not isinstance(logits, Tensor):
        raise TypeError(f"logits is {kind_of(logits)}, expected a tensor")
    n = index.shape[0]
    if logits.dim() != 2 or logits.shape[0] != n:
        raise ValueError(f"logits has shape {list(logits.shape)}, expected [{n}, C] by index")
    return logits.detach()


def _checked_target(index: Tensor, target: Any, needed_for: str) -> Tensor:
    if target is None:
        raise ValueError(f"target is None, but is needed for {needed_for!r}")
    if not isinstance(target, Tensor):
        raise TypeError(f"target is {kind_of(target)}, expected a tensor")
    n = index.shape[0]
    if target.shape[:1] != index.shape:
        raise ValueError(
            f"target has shape {list(target.shape)}, expected [{n}] or [{n}, C] by index"
        )
    return target
