"""Updates of a memory that the ranks of a process group make together."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from impsamp_fast._readback import Updates
from impsamp_fast.distributed._ranks import First, Ranks

_Values = tuple[Tensor | None, ...]

# An update has so many values at most; each is nothing known, None or of one of these dtypes.
_MOST_VALUES = 4
_DTYPES = (None, None, torch.int64, torch.float32, torch.float64)


@final
class SharedUpdates:
    """Keeps the updates of this rank until all ranks have those of all.

    Args:
        updates: of a memory, whose tensors have a row for each sample.
    """

    def __init__(self, updates: Updates) -> None:
        updates.make_all()
        self._updates = updates
        self._apply = updates.apply
        self._kept: list[_Values] = []
        updates.apply = self._keep

    @property
    def count(self) -> int:
        """How many updates are kept; waits for those of an accelerator."""
        self._updates.make_all()
        return len(self._kept)

    def forget(self) -> None:
        """Drops those that are kept."""
        self._kept.clear()

    def exchange(self, ranks: Ranks, terms: Mapping[str, object]) -> None:
        """Makes the updates of all ranks: step by step, and in each step rank by rank.

        Args:
            ranks: that exchange them.
            terms: what must be the same on all of them.

        Raises:
            ValueError, IndexError: the first error of an update, on all ranks; others are made.
        """

        def say() -> First:
            steps, rows = self.count, sum(map(len, self._column(0)))
            return terms, torch.tensor([steps, rows, *self._kinds()], device="cpu")

        steps, rows, *kinds = ranks.agree(2 + _MOST_VALUES, say).amax(0).tolist()
        counts = torch.tensor([*map(len, self._column(0))], dtype=torch.int64, device="cpu")
        sizes = ranks.gather(_padded([counts], steps, torch.int64))
        values = [self._gathered(ranks, place, rows, kind) for place, kind in enumerate(kinds)]
        self._kept.clear()
        self._make(sizes, [value for value, kind in zip(values, kinds, strict=True) if kind])

    def _gathered(self, ranks: Ranks, place: int, rows: int, kind: int) -> Tensor | None:
        """One of the values of all ranks' updates, [ranks, rows]."""
        dtype = _DTYPES[kind]
        return None if dtype is None else ranks.gather(_padded(self._column(place), rows, dtype))

    def _make(self, sizes: Tensor, values: list[Tensor | None]) -> None:
        """Makes the updates of all ranks, whose columns are [ranks, rows]."""
        ends = sizes.cumsum(1)
        first: Exception | None = None
        for step, rank in sizes.T.nonzero().tolist():
            end = int(ends[rank, step])
            part = slice(end - int(sizes[rank, step]), end)
            try:
                self._apply(*(None if column is None else column[rank, part] for column in values))
            except (ValueError, IndexError) as error:
                first = first or error
        if first is not None:
            raise first

    def _keep(self, *values: Tensor | None) -> None:
        self._kept.append(tuple(None if value is None else value.clone() for value in values))

    def _column(self, place: int) -> list[Tensor]:
        """One of the values of all updates."""
        return [value for step in self._kept if (value := step[place]) is not None]

    def _kinds(self) -> list[int]:
        """What each of the values is, on this rank: a place in ``_DTYPES``."""
        found = [0] * _MOST_VALUES
        for step in self._kept:
            for place, value in enumerate(step):
                found[place] = max(found[place], _kind_of(value))
        return found


def _kind_of(value: Tensor | None) -> int:
    if value is None:
        return 1
    if not value.is_floating_point():
        return _DTYPES.index(torch.int64)
    return _DTYPES.index(torch.float64 if value.dtype == torch.float64 else torch.float32)


def _padded(parts: list[Tensor], rows: int, dtype: torch.dtype) -> Tensor:
    """The parts one after the other, [rows], and zeros behind them."""
    padded = torch.zeros(rows, dtype=dtype, device="cpu")
    if parts:
        values = torch.cat(parts)
        padded[: len(values)] = values
    return padded
