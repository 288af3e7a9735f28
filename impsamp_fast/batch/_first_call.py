"""What cannot be scored, found out in the first call and not when scoring begins, hours later."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from impsamp_fast.batch._nested import split
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch.start import After, StartRule
from impsamp_fast.ops import row_stats


class FirstCall:
    """Looks at each call's targets, and once at what the model returns; values are not looked at.

    Args:
        loss: whose targets they are; None if they need not be those of a cross-entropy.
        start: from when the model scores. With ``After(sys.maxsize)`` it never does, and nothing is
            looked at.
    """

    def __init__(self, loss: TrainedLoss | None, start: StartRule) -> None:
        never = isinstance(start, After) and start.steps >= sys.maxsize
        self._loss = None if never else loss
        self._kind: tuple[torch.dtype, torch.Size] | None = None  # of the last targets
        self._has_scored = never

    def check_target(self, y: Tensor) -> None:
        """Raises what scoring says of targets of this dtype and shape."""
        if self._loss is None:
            return
        if not isinstance(y, Tensor):
            raise TypeError(
                "y has several tensors, which only a score function of one's own can take: give "
                "score=, a function of the logits and y, no filter and no method that goes by the "
                "class"
            )
        kind = (y.dtype, y.shape[1:])
        if kind == self._kind:
            return
        classes = y.shape[1] if y.dim() == 2 else self._loss.example()[0].shape[1]
        self._look_at(torch.empty(0, classes, dtype=torch.float32, device=y.device), y)
        self._kind = kind

    def try_model(
        self, forward: Callable[[Any, Tensor], Tensor], x: Any, y: Tensor, n: int
    ) -> None:
        """Raises what scoring would, the first time.

        Args:
            forward: makes the logits of rows x with targets y.
            x: rows.
            y: their targets.
            n: how many rows the model takes at a time in training: a single one it may refuse.
        """
        if self._has_scored:
            return
        (x, y), _ = split((x, y), n)
        logits = forward(x, y)
        if self._loss is not None:
            self._look_at(logits[:0], y)
        self._has_scored = True

    def note_scoring(self) -> None:
        """Is told when the model is to score, which finds out all that a trial would."""
        self._has_scored = True

    def _look_at(self, logits: Tensor, y: Tensor) -> None:
        assert self._loss is not None
        row_stats(logits, y[:0], **self._loss.options(y.device))
