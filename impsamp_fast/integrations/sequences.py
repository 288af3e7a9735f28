"""Rows that are sequences of tokens: the losses and the scores of sequences."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast import ops
from impsamp_fast.batch._logits import call_model, logits_of
from impsamp_fast.batch.scoring_pass import ScoringPass
from impsamp_fast.batch.selector import Selector


def sequence_losses(
    logits: Tensor,
    labels: Tensor,
    *,
    shift: bool = False,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The mean cross-entropy of each sequence's tokens, [n], float32 or float64; 0 without any.

    A batch's mean over them counts each sequence once; the loss that a language model returns by
    itself counts each token once.

    Args:
        logits: [n, T, C].
        labels: [n, T] class indices.
        shift: whether the logits of a token are about the label of the next one, as those of a
            causal language model are.
        ignore_index: the label of tokens that do not count.
        label_smoothing: see :func:`torch.nn.functional.cross_entropy`.
    """
    logits, labels = _aligned(logits, labels, shift)
    logits = logits if logits.dtype.itemsize >= 4 else logits.float()
    losses = F.cross_entropy(
        logits.transpose(1, 2),
        labels,
        reduction="none",
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    return _mean_of_tokens(losses, labels, ignore_index)


def sequence_scores(
    logits: Tensor,
    labels: Tensor,
    kind: str = "loss",
    *,
    shift: bool = False,
    ignore_index: int = -100,
) -> Tensor:
    """The mean score of each sequence's tokens, [n]; 0 without any.

    Args:
        logits: [n, T, C].
        labels: [n, T] class indices.
        kind: of the tokens' scores, see :func:`~impsamp_fast.score`.
        shift: as in :func:`sequence_losses`.
        ignore_index: likewise.
    """
    logits, labels = _aligned(logits, labels, shift)
    scores = ops.score(logits, labels, kind=kind, ignore_index=ignore_index)
    return _mean_of_tokens(scores, labels, ignore_index)


def sequence_selector(
    model: nn.Module,
    n: int,
    *,
    score: str = "loss",
    shift: bool = False,
    target: str = "labels",
    ignore_index: int = -100,
    chunk: int | None = None,
    **options: Any,
) -> Selector:
    """A :class:`~impsamp_fast.Selector` of sequences, by the mean score of their tokens.

    It is called with a dict that has the labels in it, and with the labels::

        selector = sequence_selector(model, n=8, shift=True)
        batch = selector(inputs, inputs["labels"])

    The sequences are scored chunk by chunk, so that the logits of one chunk only are in memory.

    Args:
        model: called as ``model(**inputs)`` without the labels; it returns logits [K, T, C], or an
            object, a dict or a tuple that has them.
        n: sequences per mini-batch.
        score: of a token, see :func:`~impsamp_fast.score`.
        shift: as in :func:`sequence_losses`.
        target: the labels' key, of [K, T] class indices.
        ignore_index: likewise.
        chunk: see :class:`~impsamp_fast.ScoringPass`; None is n.
        options: the others of a ``Selector``.
    """

    def scores(**inputs: Any) -> Tensor:
        labels = inputs.pop(target)
        logits = logits_of(call_model(model, inputs))
        found = sequence_scores(logits, labels, score, shift=shift, ignore_index=ignore_index)
        return found.unsqueeze(1)  # as logits of one class

    scoring = ScoringPass(chunk=n if chunk is None else chunk, model=scores)
    return Selector(model, n, score=_as_they_are, scoring=scoring, **options)


def _as_they_are(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.squeeze(1)


def _aligned(logits: Tensor, labels: Tensor, shift: bool) -> tuple[Tensor, Tensor]:
    if logits.dim() != 3 or logits.shape[:2] != labels.shape:
        raise ValueError(
            f"logits has shape {list(logits.shape)} and labels {list(labels.shape)}, expected "
            "[n, T, C] and [n, T]"
        )
    return (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)


def _mean_of_tokens(values: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """The mean over the tokens that count, [n]; the others' values are 0."""
    return values.sum(1) / (labels != ignore_index).sum(1).clamp(min=1)
