"""A draw from the rows of all ranks."""

from typing import Any

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer
from impsamp_fast.distributed._ranks import First, Ranks
from impsamp_fast.ops import Draw
from impsamp_fast.ops._arguments import signed
from impsamp_fast.ops._stages import WITHOUT_REPLACEMENT, part_of_draw, scan_of
from impsamp_fast.ops._status import status_error

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
    the order of the ranks, row by row and bit by bit. All ranks of the group call it. What they
    send each other does not grow with their rows: some numbers each, with "race" and "topk" n + 1.
    An accelerator is waited for.

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
    share = share_of_draw(Ranks(group), weights, n, method, seed, generator)
    mine = share.index >= 0
    return Draw(share.index[mine], share.prob[mine])


def share_of_draw(
    ranks: Ranks,
    weights: Tensor,
    n: int,
    method: str,
    seed: int | Tensor | None,
    generator: torch.Generator | None = None,
) -> Draw:
    """A whole draw, [n] each, with -1 and 0 where another rank has the row."""

    def say() -> First:
        scan = scan_of(weights).cpu()
        terms = {
            "n": check_integer("n", n, 1),
            "method": method,
            "seed": None if seed is None else int(seed),
            "the dtype of weights": weights.dtype,
        }
        return terms, torch.cat([scan, seed_here(seed, generator)])

    heard = ranks.agree(SCAN + 1, say)
    scans, seeds = heard[:, :SCAN], heard[:, SCAN]
    raise_for_scans("weights", scans, n, method)
    stages = part_of_draw(
        weights, scans.to(weights.device), ranks.rank, n, method, seeds[0].to(weights.device)
    )
    return ranks.follow(stages)


def seed_here(seed: int | Tensor | None, generator: torch.Generator | None) -> Tensor:
    """The seed as a signed integer, [1]; None takes one from the generator."""
    if seed is not None and generator is not None:
        raise ValueError("seed and generator are both given, but only one of them can decide")
    if seed is None:
        device = "cpu" if generator is None else generator.device
        return torch.randint(1 << 62, (1,), generator=generator, device=device).cpu()
    return torch.tensor([signed(int(seed))], device="cpu")


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
