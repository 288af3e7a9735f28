"""Which epoch a pass over a sampler is of, whatever the order in which loaders and trainers ask."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor


@final
@dataclass
class Pass:
    """One time through an epoch's indices, or through the rest of them if a state was loaded.

    Attributes:
        epoch: its number, from 0.
        order: its indices, as far as they are drawn.
        drawn: how many of them are there.
        first: where the pass began: at 0, or where a state was loaded.
        position: how many of the epoch's indices are handed out.
        is_trained: whether anything was trained on since it began.
        rows: how many rows this process has told of since then.
    """

    epoch: int
    order: Tensor
    drawn: int = 0
    first: int = 0
    position: int = 0
    is_trained: bool = False
    rows: int = 0

    @property
    def is_over(self) -> bool:
        """Whether all indices are handed out."""
        return self.position == len(self.order)

    @property
    def is_spent(self) -> bool:
        """Whether the next pass is of the next epoch, and not of this one again."""
        return self.is_over or self.is_trained


@final
class Epochs:
    """The last pass that began, and what the next one is.

    The next pass is of the epoch that was named since, or else of the one after the last pass. But
    a pass that was broken off before anything was trained on begins again; and to name the epoch of
    the pass under way means that pass, if it goes on.
    """

    def __init__(self) -> None:
        self.last: Pass | None = None
        self._named: int | None = 0  # never None without a last pass
        self._named_at = 0  # the last pass's position then

    def name(self, epoch: int) -> None:
        """Names the epoch of the next pass."""
        last = self.last
        if last is not None and last.epoch == epoch and not last.is_spent:
            self._named = None
        else:
            self._named = epoch
            self._named_at = 0 if last is None else last.position

    def resume(self, saved: Pass) -> None:
        """The next pass is this one, which was saved."""
        self.last, self._named = saved, None

    def start(self, epoch: int) -> None:
        """The next pass is of that epoch, as if there had been none before."""
        self.last, self._named, self._named_at = None, epoch, 0

    def note_training(self, rows: int = 0) -> None:
        """The last pass is trained on, by so many rows, unless it has not handed out anything."""
        last = self.last
        if last is None or last.position == last.first:
            return
        last.is_trained = True
        last.rows += rows
        if last.epoch == self._named:
            self._named = None  # it goes on

    def next(self) -> int:
        """The epoch of the next pass, if it were to begin now."""
        named = self._named_since()
        if named is not None:
            return named
        assert self.last is not None
        return self.last.epoch + self.last.is_spent

    def repeats(self) -> bool:
        """Whether the next pass is of the last one's epoch because it was named again since."""
        return self.last is not None and self._named_since() == self.last.epoch

    def under_way(self) -> Pass | None:
        """The last pass, unless another was named since its last index; it may be over."""
        last = self.last
        if last is None or self._named is None or last.position > self._named_at:
            return last
        return last if self.repeats() and not last.is_over else None

    def begin(self, new_order: Callable[[int], Tensor]) -> Pass:
        """The next pass.

        Args:
            new_order: from an epoch to room for its indices.
        """
        last = self.last
        # Where the first block raised, its epoch may have another length by now.
        if last is not None and self._named_since() is None and last.drawn and not last.is_spent:
            this = replace(last, position=last.first)
        else:
            epoch = self.next()
            this = Pass(epoch, new_order(epoch))
        self.last, self._named = this, None
        return this

    def _named_since(self) -> int | None:
        """The epoch that was named, unless the pass under way was meant and went on."""
        last = self.last
        if last is not None and last.epoch == self._named and last.position > self._named_at:
            return None
        return self._named
