"""A selection from the rows of all ranks."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._fill_up import sizes_to_fill_up
from impsamp_fast.distributed._draw import SCAN, raise_for_scans, seed_here
from impsamp_fast.distributed._ranks import First, Ranks
from impsamp_fast.ops import Draw, Selection, corrected
from impsamp_fast.ops import score as score_of
from impsamp_fast.ops._corrected import kind_of
from impsamp_fast.ops._fakes import result_dtype
from impsamp_fast.ops._stages import (
    ELSEWHERE,
    WITHOUT_REPLACEMENT,
    bits_of,
    numbers_of,
    part_of_draw,
    scan_of,
    total_of,
)
from impsamp_fast.ops._status import status_error

# What a rank says at first: the scan of its scores, its rows that may be drawn, the bits of two
# sums, and a seed.
_NUMBERS = SCAN + 4


class Scores(NamedTuple):
    """The scores [k] of a rank's rows, and which of them must not be drawn, [k] bool or None."""

    scores: Tensor
    left_out: Tensor | None


class Share(NamedTuple):
    """A selection as one rank sees it.

    Attributes:
        index: [n], the rows of this rank in their places; -1 where another rank has the row.
        weight: [n], 0 there.
        tau: [].
        rows: how many rows all ranks have.
    """

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    weight: Tensor
    tau: Tensor
    rows: int


def select(
    logits: Tensor,
    target: Tensor,
    n: int,
    score: str = "grad_norm",
    method: str = "multinomial",
    correction: str | float = "unbiased",
    features: Tensor | None = None,
    smoothing: float = 0.0,
    seed: int | Tensor | None = None,
    generator: torch.Generator | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    group: Any = None,
) -> Selection:
    """Selects n rows from those of all ranks; returns those of this rank.

    The selection is that of :func:`~impsamp_fast.select` from the concatenation of the ranks'
    logits and targets in the order of the ranks: rows and weights are the same bits; tau differs by
    a rounding of 2^-20. ``sum(weight * loss[index]) / n``, summed over the ranks, is unbiased for
    the mean loss of all rows; where ``DistributedDataParallel`` averages gradients, multiply each
    rank's sum by the number of ranks. See :func:`~impsamp_fast.distributed.draw` for how the ranks
    go together.

    Args:
        logits: ``[..., C]``, the rows of this rank, of which there may be none.
        target: as in :func:`~impsamp_fast.select`, and so all that follow. n, score, method,
            correction, smoothing and seed must be the same on all ranks.
        n: how many rows to draw from all ranks.
        score: the kind of score.
        method: how rows are drawn.
        correction: what ``weight`` is.
        features: ``[..., D]``, for the score "last_layer".
        smoothing: the share of uniform sampling in the scores of all ranks, in [0, 1].
        seed: the same on all ranks, or None on all: then rank 0's generator decides.
        generator: as in :func:`~impsamp_fast.distributed.draw`.
        label_smoothing: as in :func:`~impsamp_fast.select`.
        class_weight: likewise.
        ignore_index: likewise.
        group: a process group of ``torch.distributed``; None is the default one.

    Returns:
        ``Selection``: index and weight ``[m]`` of this rank's rows, in the order of the draw;
        score and loss ``[...]`` of all of its rows; tau ``[]`` of those of all ranks; status 0.

    Raises:
        IndexError, TypeError, ValueError: as :func:`~impsamp_fast.select`; on all ranks.
        RuntimeError: if there is no process group.
    """
    scored: list[Tensor] = []

    def make() -> Scores:
        options: dict[str, Any] = {
            "label_smoothing": label_smoothing,
            "class_weight": class_weight,
            "ignore_index": ignore_index,
            "validate": True,
        }
        scores = score_of(logits, target, score, features, **options)
        is_loss = score == "loss"
        losses = scores if is_loss else score_of(logits, target, "loss", **options)
        scored.extend((scores, losses))
        left_out = None
        if ignore_index is not None and not target.is_floating_point():
            left_out = target.eq(ignore_index).reshape(-1)
        return Scores(scores.reshape(-1), left_out)

    share = share_of_selection(
        *(Ranks(group), make, n, score, method, correction, smoothing, seed, generator)
    )
    mine = share.index >= 0
    status = torch.zeros_like(share.index[0])
    scores, losses = scored
    return Selection(share.index[mine], share.weight[mine], scores, losses, share.tau, status)


def share_of_selection(
    ranks: Ranks,
    make: Callable[[], Scores],
    n: int,
    score: object,
    method: str,
    correction: str | float,
    smoothing: float,
    seed: int | Tensor | None,
    generator: torch.Generator | None = None,
    *,
    fills_up: bool = False,
) -> Share:
    """Draws n rows of all ranks by their scores, and weighs them.

    Args:
        ranks: that draw together.
        make: the scores of this rank's rows; what it raises is raised on all ranks.
        n: how many rows to draw.
        score: what the scores are, the same on all ranks.
        method: as in :func:`select`.
        correction: likewise.
        smoothing: likewise.
        seed: likewise.
        generator: likewise.
        fills_up: whether, by a method without replacement, rows of no score fill up where fewer
            than n have one.
    """
    own: list[Scores] = []

    def say() -> First:
        terms = {
            "n": check_integer("n", n, 1),
            "score": score,
            "method": method,
            "correction": correction,
            "smoothing": check_number("smoothing", smoothing, 0, 1, open_high=False),
            "seed": None if seed is None else int(seed),
        }
        scores, left_out = make()
        if left_out is not None:
            scores = scores.masked_fill(left_out, 0)
        own.append(Scores(scores, left_out))
        terms["the dtype of the scores"] = scores.dtype
        candidates = len(scores) if left_out is None else int((~left_out).sum())
        words = [
            scan_of(scores).cpu(),
            torch.tensor([candidates], device="cpu"),
            _sums_of(scores).cpu().view(torch.int64),
            seed_here(seed, generator),
        ]
        return terms, torch.cat(words)

    heard = ranks.agree(_NUMBERS, say)
    scans, candidates, sums, seeds = torch.split(heard, [SCAN, 1, 2, 1], dim=1)
    raise_for_scans("score", scans, n, "multinomial")
    ((scores, left_out),) = own
    rows = int(scans[:, 2].sum())
    if not candidates.any():
        raise status_error(-1, n, method)
    number = seeds[0, 0].to(scores.device)
    weighted = _Weighted(ranks, scores, left_out, scans, candidates[:, 0])
    weights, scans, tau = weighted.by(smoothing, sums.contiguous().view(torch.float64))
    positive = int(scans[:, 1].sum())
    if method not in WITHOUT_REPLACEMENT or n <= positive:
        scans = scans.to(scores.device)
        found = ranks.follow(part_of_draw(weights, scans, ranks.rank, n, method, number))
    elif fills_up and n <= rows:
        found = _fill_up(ranks, weights, left_out, n, rows, int(candidates.sum()), number)
    else:
        raise status_error(-1 - positive, n, method)
    weight = _weights_of(ranks, found, weights, rows, method, correction)
    return Share(found.index, weight, tau, rows)


class _Weighted:
    """From the scores of all ranks to what rows are drawn by, as :func:`smoothed` does.

    Args:
        ranks: whose scores they are.
        scores: [k], of this rank, 0 where a row is left out.
        left_out: [k] bool or None.
        scans: [ranks, 4] on the CPU, of the scores.
        candidates: [ranks], how many rows are not left out.
    """

    def __init__(
        self,
        ranks: Ranks,
        scores: Tensor,
        left_out: Tensor | None,
        scans: Tensor,
        candidates: Tensor,
    ) -> None:
        self._ranks = ranks
        self._scores = scores
        self._left_out = left_out
        self._scans = scans
        self._candidates = candidates
        self._dtype = result_dtype(scores)
        self._largest = numbers_of(scans[:, 0].amax(), self._dtype)  # of all ranks

    def by(self, smoothing: float, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weights [k], the scans of those of all ranks, and tau [].

        Args:
            smoothing: a in [0, 1].
            sums: [ranks, 2], what ``_sums_of`` says of each.
        """
        count, rows = int(self._candidates.sum()), int(self._scans[:, 2].sum())
        if self._largest == 0:  # all candidates are equal
            one = torch.ones_like(self._largest)
            weights = self._without(torch.ones_like(self._scores, dtype=self._dtype))
            tau = one * math.sqrt(rows / count)
            return weights, self._scans_of(one, self._candidates), tau.to(self._scores.device)
        # In units of the largest score of all.
        largest = float(self._largest)
        relative = numbers_of(self._scans[:, 0], self._dtype).double() / largest
        first = float((sums[:, 0] * relative).sum())
        second = float((sums[:, 1] * relative.square()).sum())
        weights, scans = self._scores, self._scans
        if smoothing != 0:
            keep = torch.tensor(1.0 - smoothing, dtype=self._dtype, device="cpu")
            lift = self._mean() * torch.tensor(smoothing, dtype=self._dtype, device="cpu")
            weights = self._without(self._smoothed(self._scores, keep, lift))
            scans = self._scans_of(self._smoothed(self._largest, keep, lift), self._candidates)
            share, rest = float(lift) / largest, float(keep)
            second = rest**2 * second + 2 * rest * share * first + count * share**2
            first = rest * first + count * share
        tau = torch.tensor(math.sqrt(rows * second) / first, dtype=self._dtype, device="cpu")
        return weights, scans, tau.to(self._scores.device)

    def _mean(self) -> Tensor:
        """The mean score of all candidates, from the fixed point of all."""
        rows = self._scans[:, 2].sum()
        device = self._scores.device
        own = total_of(self._scores, self._largest.to(device), rows.to(device))
        total = self._ranks.gather(own).sum().cpu()
        mean = total.to(self._dtype) / self._candidates.sum().to(self._dtype)
        shift = 63 - (int(rows) - 1).bit_length() - math.frexp(float(self._largest))[1]
        scaled = torch.tensor(math.ldexp(float(mean), -shift), dtype=self._dtype, device="cpu")
        return torch.minimum(scaled, self._largest)

    def _smoothed(self, scores: Tensor, keep: Tensor, lift: Tensor) -> Tensor:
        least = numbers_of(torch.ones_like(self._scans[0, 0]), self._dtype)
        lifted = scores.to(self._dtype) * keep.to(scores.device) + lift.to(scores.device)
        return lifted.clamp(least.to(scores.device), self._largest.to(scores.device))

    def _without(self, weights: Tensor) -> Tensor:
        return weights if self._left_out is None else weights.masked_fill(self._left_out, 0)

    def _scans_of(self, largest: Tensor, positive: Tensor) -> Tensor:
        """The scans of weights that no rank has a fault in."""
        bits = bits_of(largest).expand_as(positive)
        return torch.stack([bits, positive, self._scans[:, 2], torch.zeros_like(bits)], dim=1)


def _sums_of(scores: Tensor) -> Tensor:
    """The sums of the scores and of their squares, in units of the largest: [2] float64."""
    scores = scores.double()
    largest = scores.amax() if len(scores) else scores.new_zeros(())
    relative = torch.where(largest > 0, scores / largest, 0.0)
    return torch.stack([relative.sum(), relative.square().sum()])


def _fill_up(
    ranks: Ranks,
    weights: Tensor,
    left_out: Tensor | None,
    n: int,
    rows: int,
    candidates: int,
    seed: Tensor,
) -> Draw:
    """All rows of all ranks that have a weight, and uniform others."""
    sizes = sizes_to_fill_up(weights, left_out, rows, candidates < n)
    scans = ranks.gather(scan_of(sizes))
    return ranks.follow(part_of_draw(sizes, scans, ranks.rank, n, "pps", seed))


def _weights_of(
    ranks: Ranks,
    found: Draw,
    weights: Tensor,
    rows: int,
    method: str,
    correction: str | float,
) -> Tensor:
    """The weights of the rows that this rank has, [n]; 0 elsewhere."""
    elsewhere = found.index == ELSEWHERE
    drawn_by = weights[found.index.masked_fill(elsewhere, 0)] if len(weights) else found.prob
    drawn_by = drawn_by.to(found.prob.dtype).masked_fill(elsewhere, 0)
    kind = kind_of(method)
    if kind == "deterministic" or correction in ("none", "unbiased"):
        prob = found.prob.masked_fill(elsewhere, 1)
    else:
        # Each row is one rank's, and 0 to the others.
        every = ranks.gather(bits_of(torch.stack([found.prob, drawn_by]))).sum(0)
        prob, drawn_by = numbers_of(every, found.prob.dtype).unbind()
    return corrected(prob, drawn_by, rows, kind, correction).masked_fill(elsewhere, 0)
