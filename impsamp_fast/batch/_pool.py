"""Several mini-batches of one large batch, which is scored once for all of them."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impsamp_fast._seeds import second_seed
from impsamp_fast._uniform import uniform_rows
from impsamp_fast.batch._nested import as_given, as_target, copied, moved, narrow, plain
from impsamp_fast.batch._row_drawer import Drawn, RowDrawer
from impsamp_fast.batch._user_score import Scored


class Rows(NamedTuple):
    """Rows of a large batch, with their weights and the samples' numbers."""

    x: Any
    y: Tensor
    weight: Tensor
    numbers: Tensor


def draw_pool(drawer: RowDrawer, scored: Scored, n: int, seeds: Sequence[int | Tensor]) -> Drawn:
    """The rows of as many mini-batches as there are seeds, with their ``sizes``.

    With replacement each is drawn by itself. Otherwise all are drawn at once and shared out at
    random: no row comes twice, and the weights are those of the larger draw, whose mean that of
    each share estimates.
    """
    m = len(seeds)
    if drawer.kind != "with replacement":
        drawn = drawer.draw(scored, m * n, seeds[0])
        rows = drawn.row.numel()
        order = uniform_rows(rows, rows, second_seed(seeds[0]), drawn.row.device)
        sizes = [rows // m + (i < rows % m) for i in range(m)]
        row, weight = drawn.row.index_select(0, order), drawn.weight.index_select(0, order)
        return drawn._replace(row=row, weight=weight, sizes=sizes)
    draws = [drawer.draw(scored, n, seed) for seed in seeds]
    return draws[0]._replace(  # what the scores say is the same in each
        row=torch.cat([drawn.row for drawn in draws]),
        weight=torch.cat([drawn.weight for drawn in draws]),
        sizes=[drawn.row.numel() for drawn in draws],
    )


class Pool:
    """The mini-batches that wait for their steps."""

    def __init__(self) -> None:
        self._waiting: deque[Rows] = deque()
        self.importance = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def device(self) -> torch.device:
        """Where the rows that wait are."""
        return self._waiting[0].weight.device

    def fill(self, rows: Rows, sizes: Sequence[int], importance: bool) -> None:
        """Takes in the rows of mini-batches of these sizes."""
        end = 0
        for size in sizes:
            begin, end = end, end + size
            self._waiting.append(Rows(*narrow(tuple(rows), begin, end)))
        self.importance = importance

    def next(self) -> Rows:
        """Takes out the first."""
        return self._waiting.popleft()

    def state(self) -> dict[str, Any]:
        """A copy of what waits."""
        rows = [
            plain(copied((rows.x, as_given(rows.y), rows.weight, rows.numbers)))
            for rows in self._waiting
        ]
        return {"waiting": rows, "importance": self.importance}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> "Pool":
        """What a ``state`` has, on a device."""
        pool = cls()
        for rows in state["waiting"]:
            x, y, weight, numbers = moved(tuple(rows), device)
            pool._waiting.append(Rows(x, as_target(y), weight, numbers))
        pool.importance = state["importance"]
        return pool
