"""The rows to train on, and the mean of their losses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from impsamp_fast._checks import check_choice, check_integer, check_losses
from impsamp_fast.batch._nested import mapped, narrow
from impsamp_fast.batch.start import StartRule

Reduction = Literal["sum", "mean"]


@dataclass(slots=True, eq=False)
class MiniBatch:
    """The rows to train on; ``x, y, weight, index = batch`` takes it apart.

    Attributes:
        x: the selected rows of the large batch's ``x``, in the same structure; a mapping of any
            kind comes back as a dict. Of a dict batch with its target what the model is called
            with.
        y: the selected rows of ``y``, [n] or [n, C].
        weight: [n], the weight of each row's loss: float32, whatever torch's default dtype; float64
            only where the rows were drawn by importance from float64 logits.
        index: [n]: the samples' numbers in the data set when ``index`` was given to the selector,
            else the rows of the large batch, int64; from a queue, the rows' numbers in the order of
            all its raw batches.
        importance: whether the rows were drawn by importance, or uniformly; from a queue, whether
            those of its last raw batch were chosen.
    """

    x: Any
    y: Tensor
    weight: Tensor
    index: Tensor
    importance: bool
    _listener: StartRule | None = field(default=None, repr=False)
    _rows: float | None = field(default=None, repr=False)  # what the mean divides by, where not n
    _learner: Callable[[Tensor], None] | None = field(default=None, repr=False)
    _inputs: Any = field(default=None, repr=False)  # where they are not x

    @property
    def inputs(self) -> Any:
        """The selected rows of all that was given: with ``target=`` a dict with all its keys.

        Otherwise ``x``.
        """
        return self.x if self._inputs is None else self._inputs

    def __iter__(self) -> Iterator[Any]:
        return iter((self.x, self.y, self.weight, self.index))

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> "MiniBatch":
        """The same on a device, by :meth:`torch.Tensor.to`."""
        sent: dict[int, Tensor] = {}  # of x, what is in inputs too goes once

        def send(part: Tensor) -> Tensor:
            if id(part) not in sent:
                sent[id(part)] = part.to(device, non_blocking=non_blocking)
            return sent[id(part)]

        return self._changed(partial(mapped, send))

    def split(self, n: int, reduction: Reduction = "sum") -> "list[MiniBatch]":
        """Micro-batches of n rows, the last of which may have fewer, for gradient accumulation.

        ::

            for micro in batch.split(32):
                losses = F.cross_entropy(model(micro.x), micro.y, reduction="none")
                micro.mean(losses).backward()
            optimizer.step()

        Their means, and so their gradients, sum up to the mean of the whole, whatever their sizes.
        What learns from the losses hears those of the whole once, after the mean of each of them
        was taken.

        Args:
            n: rows of a micro-batch, at least 1.
            reduction: "mean" for trainers that divide each loss by the number of micro-batches: the
                mean of their means is that of the whole.

        Raises:
            TypeError, ValueError: for an argument that is not as described.
        """
        n = check_integer("n", n, 1)
        check_choice("reduction", reduction, get_args(Reduction))
        K = self.weight.shape[0]
        begins = range(0, max(K, 1), n)  # a rank without rows has a backward pass too
        rows = K if self._rows is None else self._rows
        if reduction == "mean":
            rows /= len(begins)
        is_heard = self._listener is not None or self._learner is not None
        parts = _Parts(self, len(begins)) if is_heard else None
        return [
            self._changed(
                partial(narrow, begin=begin, end=begin + n),
                _rows=rows,
                _listener=None,
                _learner=None if parts is None else partial(parts.hear, i),
            )
            for i, begin in enumerate(begins)
        ]

    def _changed(self, change: Callable[[Any], Any], **others: Any) -> "MiniBatch":
        """The same with other rows."""
        x, y, weight, index = change((self.x, self.y, self.weight, self.index))
        inputs = None if self._inputs is None else change(self._inputs)
        return replace(self, x=x, y=y, weight=weight, index=index, _inputs=inputs, **others)

    def mean(self, losses: Tensor) -> Tensor:
        """The mean of ``weight * losses``: the loss to call ``backward`` on.

        With correction "unbiased" and any method but "topk", it estimates the sum of the losses of
        the large batch divided by K, the number of all its rows. That is what
        ``F.cross_entropy(...)`` of the large batch returns, unless class indices meet an
        ``ignore_index`` or a ``class_weight``: its own mean then divides by the number of rows that
        are not ignored, or by the sum of the class weights of their targets.

        From the rows of all ranks of a process group it divides not by the number of this rank's
        rows but by that of all drawn rows over the number of ranks: the mean over the ranks, which
        ``DistributedDataParallel`` takes of the gradients, is the mean of all drawn rows.

        A start rule or a strategy that learns from the losses hears them here, the first time that
        this mini-batch's mean is taken. From the rows of all ranks, a rule hears the weighted mean
        of this rank's own, which does not depend on how many they are: NaN where it has none.

        Args:
            losses: [n], any floating dtype, the loss of each row (``reduction="none"``). Half
                precision is added up in the dtype of ``weight``.

        Returns:
            A scalar, differentiable in ``losses``.

        Raises:
            TypeError: if ``losses`` is not a floating-point tensor.
            ValueError: if it is not of shape [n].
        """
        check_losses(losses, self.weight.shape[0])
        weighted = losses * self.weight
        loss = weighted.mean() if self._rows is None else weighted.sum() / self._rows
        if self._listener is not None:
            heard = loss if self._rows is None else weighted.sum() / self.weight.sum()
            self._listener.learn(heard.detach())
            self._listener = None
        if self._learner is not None:
            self._learner(losses.detach())
            self._learner = None
        return loss


class _Parts:
    """The losses of the micro-batches of a mini-batch, until it has heard them all."""

    def __init__(self, whole: MiniBatch, count: int) -> None:
        self._whole = whole
        self._losses: list[Tensor | None] = [None] * count

    def hear(self, position: int, losses: Tensor) -> None:
        self._losses[position] = losses.to(self._whole.weight.device)
        heard = [losses for losses in self._losses if losses is not None]
        if len(heard) == len(self._losses):
            self._whole.mean(torch.cat(heard))
