"""Mini-batches from the large batches of all ranks of a process group, taken as one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impsamp_fast._uniform import uniform_rows
from impsamp_fast.batch._nested import gather, layout_of_row, mapped
from impsamp_fast.batch._pool import Rows
from impsamp_fast.batch._row_drawer import Drawn, RowDrawer
from impsamp_fast.batch._user_score import UserScore
from impsamp_fast.distributed._draw import rank_0s_seed
from impsamp_fast.distributed._gathered import places
from impsamp_fast.distributed._ranks import First, Ranks
from impsamp_fast.distributed._select import (
    Scores,
    ScoresOfAll,
    Share,
    first_words,
    scores_of_all,
)
from impsamp_fast.ops._arguments import signed
from impsamp_fast.ops._stages import WITHOUT_REPLACEMENT


class Begun(NamedTuple):
    """A step that all ranks have begun.

    Attributes:
        sizes: [ranks] on the CPU, the rows of their large batches.
        seed: rank 0's.
        scored: the scores of all ranks, where these were asked for.
    """

    sizes: Tensor
    seed: int
    scored: ScoresOfAll | None = None


class OfRanks:
    """Draws n rows of all ranks, and hands them out.

    Args:
        group: a process group.
        exchange: whether all ranks get as many rows.
    """

    def __init__(self, group: Any, exchange: bool) -> None:
        self.ranks = Ranks(group)
        self.exchange = exchange
        self._has_tried = False

    def share(self, n: int) -> float:
        """How many of n drawn rows each rank has on average."""
        return n / self.ranks.size

    def begin(
        self,
        terms: Mapping[str, object],
        seed: int,
        look: Callable[[], int],
        batch: Callable[[], Any],
    ) -> Begun:
        """A step of which the numbers of rows are told.

        Args:
            terms: what is the same on all ranks.
            seed: of which rank 0's decides.
            look: looks at this rank's large batch for what is wrong with it; its number of rows.
            batch: x, y and index of it, asked for after that; where rows are exchanged they are
                alike on all ranks.
        """

        def say() -> First:
            told = torch.zeros(words, dtype=torch.int64, device="cpu")
            told[0], told[1] = look(), signed(seed)
            return {**terms, **self._layout(batch)}, told

        # As many as ranks say that begin with their scores: who is in another step is found out.
        words = first_words(self.ranks)
        heard = self.ranks.agree(words, say)
        return Begun(heard[:, 0], int(heard[0, 1]))

    def begin_scored(
        self,
        terms: Mapping[str, object],
        seed: int,
        make: Callable[[], Scores],
        batch: Callable[[], Any],
        drawer: RowDrawer,
    ) -> Begun:
        """A step of which the scores are told as well; making them looks for what is wrong."""
        is_user = isinstance(drawer.score, UserScore)
        parts = {
            "score": "a function's" if is_user else drawer.score,
            "method": drawer.method,
            "correction": drawer.correction,
        }
        scored = scores_of_all(
            self.ranks,
            make,
            lambda: {**terms, **parts, **self._layout(batch)},
            drawer.smoothing,
            rank_0s_seed(seed),
        )
        return Begun(scored.sizes, scored.seed, scored)

    def _layout(self, batch: Callable[[], Any]) -> Mapping[str, object]:
        return {"a row of x, y and index": layout_of_row(batch())} if self.exchange else {}

    def by_importance(self, scored: ScoresOfAll, n: int, drawer: RowDrawer) -> Share:
        """n rows by their scores."""
        assert isinstance(drawer.method, str)
        fills_up = drawer.method in WITHOUT_REPLACEMENT
        return scored.share(n, drawer.method, drawer.correction, fills_up)

    def uniformly(self, begun: Begun, n: int, device: torch.device) -> Share:
        """n rows, uniformly without replacement, with weight 1."""
        row = uniform_rows(int(begun.sizes.sum()), n, begun.seed, device)
        index, owner = places(begun.sizes, self.ranks.rank, row)
        return Share(index, torch.ones(n, dtype=torch.float32, device=device), owner, None)

    def tau(self, drawer: RowDrawer, make: Callable[[], Scores]) -> Tensor | None:
        """What the scores of all ranks say; None where no row has a target."""
        return scores_of_all(self.ranks, make, dict, drawer.smoothing, rank_0s_seed(0)).tau()

    def try_once(self, attempt: Callable[[], None]) -> None:
        """Makes an attempt in the first call only; what it raises is raised on all ranks."""
        if self._has_tried:
            return

        def say() -> First:
            attempt()
            return {}, torch.empty(0, dtype=torch.int64, device="cpu")

        self.ranks.agree(0, say)
        self._has_tried = True

    def hand_out(self, share: Share, x: Any, y: Tensor, numbers: Tensor) -> Rows:
        """This rank's part of the drawn rows; a row with weight 0 where it has none."""
        mine = share.index >= 0
        row, weight = share.index[mine], share.weight[mine]
        if self.exchange:
            return self._exchanged(share, gather((x, y, numbers), row))
        if row.numel() == 0 and y.shape[0]:
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


def drawn_of(share: Share, scored: Scores | None) -> Drawn:
    """What a step's log takes of it: the weights of all rows, and this rank's scores."""
    score = None if scored is None else scored.scores
    return Drawn(share.index, share.weight, share.tau, score)
