"""The numbers of all ranks' rows on every rank, where they are few enough to send them.

Each rank then draws by itself what all of them draw, and the only thing that takes time is one
gather: a collective takes far longer than some thousand numbers take on their way.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from impsamp_fast.distributed._ranks import Ranks
from impsamp_fast.ops import Draw
from impsamp_fast.ops._stages import ELSEWHERE

# Rows of all ranks up to which their numbers are sent: 8 bytes of each.
_MOST = 1 << 16


class Gathered(NamedTuple):
    """Numbers [rows] of all ranks in their order, which rows are left out, and rows per rank.

    ``left_out`` is [rows] bool, or None where none is.
    """

    numbers: Tensor
    left_out: Tensor | None
    sizes: Tensor

    def share(self, rank: int, drawn: Draw) -> Draw:
        """Of a draw from all rows those of a rank; -1 and 0 in the places of all others."""
        index, _ = places(self.sizes, rank, drawn.index)
        return Draw(index, drawn.prob.masked_fill(index == ELSEWHERE, 0))


def places(sizes: Tensor, rank: int, row: Tensor) -> tuple[Tensor, Tensor]:
    """Of rows [n] those of a rank in its own count, -1 for all others; and whose each is."""
    owner = torch.bucketize(row, sizes.cumsum(0).to(row.device), right=True)
    first = int(sizes[:rank].sum())
    return torch.where(owner == rank, row - first, ELSEWHERE), owner


def words_of(numbers: Tensor, left_out: Tensor | None, room: int) -> Tensor:
    """A rank's numbers [k], not negative, as int64 [room]; zeros if they are more than that."""
    if len(numbers) > room:
        return torch.zeros(room, dtype=torch.int64, device="cpu")
    words = numbers.cpu().double()
    if left_out is not None:
        words = words.masked_fill(left_out.cpu(), -1.0)
    return pad(words, (0, room - len(words))).view(torch.int64)


def gathered(
    ranks: Ranks, numbers: Tensor, left_out: Tensor | None, sizes: Tensor, heard: Tensor
) -> Gathered | None:
    """The numbers of all ranks; None where these are too many.

    Args:
        ranks: whose room becomes what these batches have needed, and shrinks by halves.
        numbers: [k], this rank's.
        left_out: [k] bool or None.
        sizes: [ranks], how many each has.
        heard: [ranks, room], what ``words_of`` says of each.
    """
    most, room = int(sizes.max()), ranks.room
    fits = int(sizes.sum()) <= _MOST
    ranks.room = max(1 << max(0, most - 1).bit_length() if fits else 0, room // 2)
    if not fits:
        return None
    if most > room:
        heard = ranks.gather(words_of(numbers, left_out, ranks.room))
    rows = torch.cat([words[:size] for words, size in zip(heard, sizes.tolist(), strict=True)])
    values = rows.view(torch.float64)
    out = values < 0
    on_device = values.masked_fill(out, 0).to(numbers.dtype).to(numbers.device)
    return Gathered(on_device, out.to(numbers.device) if out.any() else None, sizes)
