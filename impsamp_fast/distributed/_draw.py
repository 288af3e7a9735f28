"""A draw from the rows of all ranks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer
from impsamp_fast.distributed._gathered import gathered, words_of
from impsamp_fast.distributed._ranks import First, Ranks
from impsamp_fast.ops import Draw
from impsamp_fast.ops import draw as draw_of_one
from impsamp_fast.ops._arguments import signed
from impsamp_fast.ops._stages import WITHOUT_REPLACEMENT, part_of_draw, scan_of
from impsamp_fast.ops._status import status_error

# What must be the same on all ranks of a seed, and its number [1], of which rank 0's decides.
Seed = Callable[[], tuple[int | None, Tensor]]

# How many numbers the scan of a rank's weights has.
SCAN = 4


def draw(
    weights: Tensor,
    n: int,
    method: str = "multinomial",
    seed: int | Tensor | None = None,
    generator: torch.Generator | None = None,
    *,
    group: Any = None,
) -> Draw:
    """Draws n rows from the weights of all ranks; returns those of this rank.

    The draw is that of :func:`~impsamp_fast.draw` from the concatenation of the ranks' weights in
    the order of the ranks, row by row and bit by bit. All ranks of the group call it. Up to 65,536
    rows in all they send each other their weights; otherwise what does not grow with their rows:
    some numbers each, with "race" and "topk" n + 1. An accelerator is waited for.

    Args:
        weights: ``[k]``, of this rank; k may be 0, and differ from rank to rank.
        n: how many rows to draw from all ranks, as in :func:`~impsamp_fast.draw`.
        method: likewise.
        seed: likewise; the same on all ranks, or None on all: then rank 0's generator decides.
        generator: without a seed, the ``torch.Generator`` that decides; torch's default on the CPU
            otherwise.
        group: a process group of ``torch.distributed``; None is the default one.

    Returns:
        ``Draw(index, prob)`` of this rank's rows, in the order of the draw: index ``[m]`` with the
        m of all ranks n together.

    Raises:
        ValueError: as :func:`~impsamp_fast.draw`, or where n, method, seed or the dtype of the
            weights differ; on all ranks.
        TypeError: likewise.
        RuntimeError: if there is no process group.
    """
    share = share_of_draw(Ranks(group), lambda: weights, n, method, given_seed(seed, generator))
    mine = share.index >= 0
    return Draw(share.index[mine], share.prob[mine])


def share_of_draw(
    ranks: Ranks, make: Callable[[], Tensor], n: int, method: str, seed: Seed
) -> Draw:
    """A whole draw, [n] each, with -1 and 0 where another rank has the row.

    Args:
        ranks: that draw together.
        make: the weights of this rank's rows; what it raises is raised on all ranks.
        n: as in :func:`draw`.
        method: likewise.
        seed: likewise.
    """
    own: list[Tensor] = []

    def say() -> First:
        weights = make()
        scan = scan_of(weights).cpu()
        own.append(weights)
        term, number = seed()
        terms = {
            "n": check_integer("n", n, 1),
            "method": method,
            "seed": term,
            "the dtype of weights": weights.dtype,
        }
        return terms, torch.cat([scan, number, words_of(weights, None, ranks.room)])

    heard = ranks.agree(SCAN + 1 + ranks.room, say)
    scans, seeds, words = torch.split(heard, [SCAN, 1, ranks.room], dim=1)
    raise_for_scans("weights", scans, n, method)
    (weights,) = own
    seed_of_all = int(seeds[0, 0])
    every = gathered(ranks, weights, None, scans[:, 2], words)
    if every is not None:
        return every.share(ranks.rank, draw_of_one(every.numbers, n, method, seed_of_all))
    scans = scans.to(weights.device)
    return ranks.follow(part_of_draw(weights, scans, ranks.rank, n, method, seed_of_all))


def given_seed(seed: int | Tensor | None, generator: torch.Generator | None) -> Seed:
    """A seed that is the same on all ranks; of None, rank 0's number from its generator."""

    def make() -> tuple[int | None, Tensor]:
        if seed is not None and generator is not None:
            raise ValueError("seed and generator are both given, but only one of them can decide")
        if seed is not None:
            return int(seed), torch.tensor([signed(int(seed))], device="cpu")
        device = "cpu" if generator is None else generator.device
        return None, torch.randint(1 << 62, (1,), generator=generator, device=device).cpu()

    return make


def rank_0s_seed(seed: int) -> Seed:
    """A seed that may differ from rank to rank; rank 0's decides."""
    return lambda: (None, torch.tensor([signed(seed)], device="cpu"))


def raise_for_scans(name: str, scans: Tensor, n: int, method: str) -> None:
    """Raises what keeps all ranks from drawing n rows by ``name``, on all of them."""
    _, positive, rows, status = scans.unbind(1)
    if status.any():
        rank = int(status.nonzero()[0])
        raise ValueError(
            f"on rank {rank}: {name}[{int(status[rank]) - 1}] is negative or not finite"
        )
    total = int(rows.sum())
    if total == 0:
        raise ValueError(f"{name} has no rows to draw from on any rank")
    weighted = int(positive.sum()) or total
    if method in WITHOUT_REPLACEMENT and n > weighted:
        raise status_error(-1 - weighted, n, method)
