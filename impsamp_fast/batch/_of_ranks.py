"""Mini-batches from the large batches of all ranks of a process group, taken as one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impsamp_fast.batch._nested import gather, layout_of_row, mapped
from impsamp_fast.batch._pool import Rows
from impsamp_fast.batch._row_drawer import Drawn, RowDrawer
from impsamp_fast.batch._user_score import UserScore
from impsamp_fast.distributed._draw import rank_0s_seed, share_of_draw
from impsamp_fast.distributed._ranks import First, Ranks
from impsamp_fast.distributed._select import (
    Scores,
    Share,
    share_of_selection,
    tau_of_scores,
)
from impsamp_fast.ops._stages import WITHOUT_REPLACEMENT


class Sizes(NamedTuple):
    """The rows of all large batches together, and of those of the ranks ``before`` this one."""

    rows: int
    before: int


class OfRanks:
    """Draws n rows of all ranks, and hands them out.

    Args:
        group: a process group.
        exchange: whether all ranks get as many rows.
    """

    def __init__(self, group: Any, exchange: bool) -> None:
        self.ranks = Ranks(group)
        self.exchange = exchange

    def share(self, n: int) -> float:
        """How many of n drawn rows each rank has on average."""
        return n / self.ranks.size

    def sizes(self, step: int, n: int, look: Callable[[], int], batch: Any) -> Sizes:
        """How many rows there are.

        Args:
            step: the number of this step, the same on all ranks.
            n: rows per mini-batch, likewise.
            look: looks at this rank's large batch for what is wrong with it; its number of rows.
            batch: x, y and index of it; where rows are exchanged they are alike on all ranks.
        """

        def say() -> First:
            rows = torch.tensor([look()], device="cpu")
            alike = {"a row of x, y and index": layout_of_row(batch)} if self.exchange else {}
            return {"step": step, "n": n, **alike}, rows

        rows = self.ranks.agree(1, say)[:, 0]
        return Sizes(int(rows.sum()), int(rows[: self.ranks.rank].sum()))

    def by_importance(
        self, drawer: RowDrawer, make: Callable[[], Scores], n: int, seed: int
    ) -> Share:
        """n rows by their scores."""
        assert isinstance(drawer.method, str)
        return share_of_selection(
            self.ranks,
            make,
            n,
            "a function's" if isinstance(drawer.score, UserScore) else drawer.score,
            drawer.method,
            drawer.correction,
            drawer.smoothing,
            rank_0s_seed(seed),
            fills_up=drawer.method in WITHOUT_REPLACEMENT,
        )

    def uniformly(self, make: Callable[[], int], n: int, seed: int, device: torch.device) -> Share:
        """n rows, uniformly without replacement, with weight 1.

        Args:
            make: the number of this rank's rows; what it raises is raised on all ranks.
            n: how many rows.
            seed: of the draw.
            device: of the rows.
        """

        def equal() -> Tensor:
            return torch.ones(make(), dtype=torch.float32, device=device)

        index = share_of_draw(self.ranks, equal, n, "race", rank_0s_seed(seed)).index
        rank = self.ranks.gather(index).argmax(0)
        weight = torch.ones(n, dtype=torch.float32, device=device)
        return Share(index, weight, rank, None)

    def tau(self, drawer: RowDrawer, make: Callable[[], Scores]) -> Tensor | None:
        """What the scores of all ranks say; None where no row has a target."""
        return tau_of_scores(self.ranks, make, drawer.smoothing)

    def hand_out(self, share: Share, x: Any, y: Tensor, numbers: Tensor) -> Rows:
        """This rank's part of the drawn rows; a row with weight 0 where it has none."""
        mine = share.index >= 0
        row, weight = share.index[mine], share.weight[mine]
        if self.exchange:
            return self._exchanged(share, gather((x, y, numbers), row))
        if row.numel() == 0 and len(y):
            row, weight = row.new_zeros(1), weight.new_zeros(1)
        return Rows(gather(x, row), gather(y, row), weight, gather(numbers, row))

    def _exchanged(self, share: Share, rows: tuple[Any, Tensor, Tensor]) -> Rows:
        """Part r of ranks equal parts of the draw for rank r."""
        size, rank = self.ranks.size, self.ranks.rank
        parts = share.rank.view(size, -1)  # whose rows each rank gets, in the order of the draw
        sent = (parts == rank).sum(1).tolist()
        received = torch.bincount(parts[rank], minlength=size).tolist()
        # Rows come rank by rank.
        place = parts[rank].argsort(stable=True).argsort()

        def exchanged(part: Tensor) -> Tensor:
            return self.ranks.exchange(part, sent, received)[place]

        x, y, numbers = mapped(exchanged, rows)
        return Rows(x, y, share.weight.view(size, -1)[rank], numbers)


def drawn_of(share: Share) -> Drawn:
    """What a step's log takes of it: the weights of all rows."""
    return Drawn(share.index, share.weight, share.tau)
