"""Which epoch a pass over a sampler is of, whatever the order in which loaders and trainers ask."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

# As many indices become Python ints at a time: enough to make a call's cost vanish, and 2 MB.
_INTS_AT_ONCE = 1 << 16


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

    def add(self, block: Tensor) -> None:
        """Takes in the next indices."""
        self.order[self.drawn : self.drawn + len(block)] = block
        self.drawn += len(block)


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

    def hand_out(
        self, this: Pass, rank: int, ranks: int, draw: Callable[[Pass], None]
    ) -> Iterator[int]:
        """A rank's share of a pass.

        Args:
            this: the pass, which has just begun.
            rank: whose share it is.
            ranks: how many there are.
            draw: adds the next block to it.

        Raises:
            RuntimeError: if another pass has begun before the end of this one.
        """
        while not this.is_over:
            # An index for each rank is a round; all ranks draw the next block in the same round.
            left = len(this.order) - this.position
            while this.drawn < this.position + min(ranks, left):
                draw(this)
            rounds = max(1, min((this.drawn - this.position) // ranks, _INTS_AT_ONCE))
            there = this.order[this.position : this.position + rounds * ranks]
            for index in there[rank % len(there) :: ranks].tolist():
                this.position = min(this.position + ranks, len(this.order))
                yield index
                if self.last is not this and not this.is_over:
                    raise RuntimeError(
                        "another pass over this sampler or load_state_dict came before the end of "
                        "this one: a sampler has one pass at a time"
                    )

    def length(self, planned: Callable[[int], int]) -> int:
        """Indices in the epoch under way, or else in the next one.

        Args:
            planned: from an epoch to its length, by what is known now.
        """
        this = self.under_way()
        if this is None or this.is_over or self.repeats():
            return planned(self.next())
        return len(this.order)

    def left(self, epochs: int, trained: int, planned: Callable[[int], int]) -> list[int]:
        """How many samples each of the epochs that are not over has left.

        Args:
            epochs: how many there are, those before this one included.
            trained: how many indices of the epoch under way were trained on.
            planned: from an epoch to its length, by what is known now.
        """
        this = self.under_way()
        if this is None or self.repeats() or (this.is_over and this.rows == 0):
            return [*map(planned, range(self.next(), epochs))]
        return [len(this.order) - trained, *map(planned, range(this.epoch + 1, epochs))]

    def _named_since(self) -> int | None:
        """The epoch that was named, unless the pass under way was meant and went on."""
        last = self.last
        if last is not None and last.epoch == self._named and last.position > self._named_at:
            return None
        return self._named
