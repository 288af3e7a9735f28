"""The rows to train on, and the mean of their losses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from impsamp_fast._checks import check_losses
from impsamp_fast.batch.start import StartRule


@dataclass(slots=True, eq=False)
class MiniBatch:
    """The rows to train on.

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
