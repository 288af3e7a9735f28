"""Rows of raw batches that wait until they are a mini-batch."""

from typing import Any, final

from torch import Tensor, nn

from impsamp_fast.batch._arguments import check_batch
from impsamp_fast.batch._nested import (
    as_given,
    as_target,
    check_alike,
    copied,
    join,
    moved,
    plain,
    split,
)
from impsamp_fast.batch._states import device_of

# x, y and index.
Rows = tuple[Any, Tensor, Tensor]


@final
class WaitingRows:
    """Rows in the order in which they were taken in; what changes them returns others."""

    def __init__(self, rows: Rows | None = None) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return 0 if self._rows is None else self._rows[1].shape[0]

    def check_alike(self, rows: Rows) -> None:
        """TypeError or ValueError unless further rows are like those that wait."""
        if self._rows is None:
            return
        for name, part, waiting in zip(("x", "y", "index"), rows, self._rows, strict=True):
            check_alike(name, part, waiting)

    def joined(self, rows: Rows, *, own: bool) -> "WaitingRows":
        """These and further ones.

        Args:
            rows: that come last.
            own: whether nobody else writes over them; if not, what waits is a copy.
        """
        if self._rows is not None:
            return WaitingRows(join(self._rows, rows))
        return WaitingRows(rows if own else copied(rows))

    def split(self, n: int) -> "tuple[Rows, WaitingRows] | None":
        """The first n and the others; None while there are fewer."""
        if self._rows is None or len(self) < n:
            return None
        if len(self) == n:
            return self._rows, WaitingRows()
        first, rest = split(self._rows, n)
        return first, WaitingRows(rest)

    def state(self) -> tuple[Any, Any, Tensor] | None:
        """A copy, in which all is plain."""
        if self._rows is None:
            return None
        x, y, index = self._rows
        saved: tuple[Any, Any, Tensor] = plain(copied((x, as_given(y), index)))
        return saved

    @classmethod
    def of(cls, state: tuple[Any, Any, Tensor] | None, model: nn.Module) -> "WaitingRows":
        """What a ``state`` has, on the device of a model."""
        if state is None:
            return cls()
        x, y, index = state
        rows = x, as_target(y), index
        check_batch(*rows)
        return cls(moved(rows, device_of(model, rows[1].device)))
