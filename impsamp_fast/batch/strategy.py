"""Raw batches in, mini-batches out: what all strategies of the batch have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from impsamp_fast._settings import ShowsSettings
from impsamp_fast.batch.minibatch import MiniBatch


class BatchStrategy(ShowsSettings, ABC):
    """Turns raw batches into the mini-batches to train on.

    A :class:`~impsamp_fast.Selector` makes one of each raw batch; an
    :class:`~impsamp_fast.Accumulator` may need several. The loop that serves both is::

        for batch in strategy.batches(loader):
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            loss = batch.mean(losses)
    """

    @property
    @abstractmethod
    def raw_size(self) -> int | None:
        """How many rows the next raw batch should have; None leaves it to the caller."""

    @abstractmethod
    def __call__(
        self, x: Any, y: Tensor | None = None, index: Tensor | None = None
    ) -> MiniBatch | None:
        """Takes a raw batch; the mini-batch, or None while there are too few rows for one.

        Args:
            x: a tensor [K, ...], or a tuple, list, named tuple or mapping of such, nested as you
                like. A mapping of any kind comes back as a dict. With ``target=`` a dict that has
                the targets in it, see :class:`~impsamp_fast.Columns`.
            y: [K] class indices, or [K, C] class probabilities; not with ``target=``.
            index: [K], int64 or int32: the samples' numbers in the data set.
        """

    @abstractmethod
    def batches(self, loader: Iterable[Any]) -> Iterator[MiniBatch]:
        """Every full mini-batch of a loader's raw batches, ``(x, y)`` or ``(x, y, index)`` each.

        With ``target=`` they are dicts. A raw batch is taken from the loader, and scored, when its
        mini-batch is needed: after the training step of the one before.
        """

    def metrics(self, wait: bool = False) -> dict[str, float]:
        """What the last steps came to, as floats for a logger; none if a strategy does not say.

        Args:
            wait: whether to wait for an accelerator, where otherwise an earlier step is told of.
        """
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the next selections depend on, except for the model."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned; after an error all is as it was."""
