"""The training pool as raw batches: contiguous blocks of a pool that is shuffled once."""

from typing import Any

import torch
from torch import Tensor

from bench.tasks.task import Data


class Shuffled:
    """A pool in the order that a seed gives it. All runs of a seed share the copy."""

    def __init__(self, data: Data, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.order = torch.randperm(len(data.y), generator=generator)
        self.state = generator.get_state()  # where a run goes on to draw from
        self.data = data
        self.x, self.y = data.x[self.order], data.y[self.order]


class Stream:
    """Blocks of contiguous rows from a pool that is shuffled once.

    A block is a view, so fetching 1,024 rows costs no more than fetching 128: neither uniform
    sampling nor the others pay for copying. Each epoch starts at another offset, so that the
    blocks are not the same ones again.
    """

    def __init__(self, shuffled: Shuffled, with_index: bool) -> None:
        self.generator = torch.Generator()
        self.generator.set_state(shuffled.state)
        self.data, self.order = shuffled.data, shuffled.order
        self.x, self.y = shuffled.x, shuffled.y
        self.position, self.with_index = 0, with_index

    def next(self, rows: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """x and y of the next block, and its rows' indices in the data set if they are wanted.

        No block is larger than the pool.
        """
        rows = min(rows, len(self.y))
        if self.position + rows > len(self.y):
            last_start = len(self.y) - rows
            offset = torch.randint(min(rows, last_start + 1), (), generator=self.generator)
            self.position = int(offset)
        block = slice(self.position, self.position + rows)
        self.position += rows
        index = self.order[block] if self.with_index else None
        return self.x[block], self.y[block], index

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """x and y of the samples with these numbers in the data set, which are copied."""
        return self.data.x.index_select(0, index), self.data.y.index_select(0, index)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        self.generator.set_state(state["generator"])
