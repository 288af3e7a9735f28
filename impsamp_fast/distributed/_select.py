"""A selection from the rows of all ranks."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._fill_up import fill_up, sizes_to_fill_up
from impsamp_fast.distributed._draw import (
    SCAN,
    Seed,
    given_seed,
    raise_for_scans,
)
from impsamp_fast.distributed._gathered import Gathered, gathered, places, words_of
from impsamp_fast.distributed._ranks import First, Ranks
from impsamp_fast.ops import Selection, corrected, draw, smoothed
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

# What a rank says at first: the scan of its scores, its rows that may be drawn, a seed, and the
# scores as far as there is room for them.
_WORDS = [SCAN, 1, 1]


class Scores(NamedTuple):
    """The scores [k] of a rank's rows, and which of them must not be drawn, [k] bool or None."""

    scores: Tensor
    left_out: Tensor | None


class Share(NamedTuple):
    """A selection as one rank sees it.

    Attributes:
        index: [n], the rows of this rank in their places; -1 where another rank has the row.
        weight: [n], of all rows.
        rank: [n], which rank has the row.
        tau: [], where rows were scored.
    """

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    weight: Tensor
    rank: Tensor
    tau: Tensor | None


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
    logits and targets in the order of the ranks: rows and weights are the same bits; tau of more
    than 65,536 rows differs by a rounding of 2^-20. ``sum(weight * loss[index]) / n``, summed over
    the ranks, is unbiased for the mean loss of all rows; where ``DistributedDataParallel`` averages
    gradients, multiply each rank's sum by the number of ranks. See
    :func:`~impsamp_fast.distributed.draw` for how the ranks go together.

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
        *(Ranks(group), make, n, score, method, correction, smoothing, given_seed(seed, generator))
    )
    mine = share.index >= 0
    assert share.tau is not None
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
    seed: Seed,
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
        fills_up: whether, by a method without replacement, rows of no score fill up where fewer
            than n have one.
    """

    def terms() -> Mapping[str, object]:
        number = check_integer("n", n, 1)
        return {"n": number, "score": score, "method": method, "correction": correction}

    scored = scores_of_all(ranks, make, terms, smoothing, seed)
    return scored.share(n, method, correction, fills_up)


def first_words(ranks: Ranks) -> int:
    """How many numbers a rank says at first."""
    return sum(_WORDS) + ranks.room


def scores_of_all(
    ranks: Ranks,
    make: Callable[[], Scores],
    terms: Callable[[], Mapping[str, object]],
    smoothing: float,
    seed: Seed,
) -> "ScoresOfAll":
    """What all ranks say of their scores.

    Args:
        ranks: that draw together.
        make: the scores of this rank's rows; what it raises is raised on all ranks.
        terms: what must be the same on all ranks besides, asked for after the scores.
        smoothing: as in :func:`select`.
        seed: likewise.
    """
    own: list[Scores] = []

    def say() -> First:
        share = check_number("smoothing", smoothing, 0, 1, open_high=False)
        term, number = seed()
        scores, left_out = make()
        if left_out is not None:
            scores = scores.masked_fill(left_out, 0)
        own.append(Scores(scores, left_out))
        candidates = len(scores) if left_out is None else int((~left_out).sum())
        words = [
            scan_of(scores).cpu(),
            torch.tensor([candidates], device="cpu"),
            number,
            words_of(scores, left_out, ranks.room),
        ]
        further = {"smoothing": share, "seed": term, "the dtype of the scores": scores.dtype}
        return {**terms(), **further}, torch.cat(words)

    heard = ranks.agree(first_words(ranks), say)
    scans, candidates, seeds, words = torch.split(heard, [*_WORDS, ranks.room], 1)
    raise_for_scans("score", scans, 1, "multinomial")
    ((scores, left_out),) = own
    return ScoresOfAll(
        *(ranks, scores, left_out, scans, candidates[:, 0]),
        every=gathered(ranks, scores, left_out, scans[:, 2], words),
        smoothing=smoothing,
        seed=int(seeds[0, 0]),
    )


class ScoresOfAll:
    """The scores of all ranks, and what is drawn by them.

    Args:
        ranks: whose scores they are.
        scores: [k], of this rank, 0 where a row is left out.
        left_out: [k] bool or None.
        scans: [ranks, 4] on the CPU, of the scores.
        candidates: [ranks], how many rows are not left out.
        every: the scores of all ranks, where all have them.
        smoothing: a in [0, 1].
        seed: rank 0's.
    """

    def __init__(
        self,
        ranks: Ranks,
        scores: Tensor,
        left_out: Tensor | None,
        scans: Tensor,
        candidates: Tensor,
        *,
        every: Gathered | None,
        smoothing: float,
        seed: int,
    ) -> None:
        self.ranks = ranks
        self.every = every
        self.left_out = left_out
        self.seed = seed
        self.sizes = scans[:, 2]
        self.rows = int(self.sizes.sum())
        self.candidates = int(candidates.sum())
        self._scores = scores
        self._scans = scans
        self._candidates = candidates
        self._smoothing = smoothing
        self._dtype = result_dtype(scores)
        self._largest = numbers_of(scans[:, 0].amax(), self._dtype)  # of all ranks

    def share(self, n: int, method: str, correction: str | float, fills_up: bool) -> Share:
        """n rows and their weights, see :func:`share_of_selection`."""
        if not self.candidates:
            raise status_error(-1, n, method)
        if self.every is not None:
            return self._share_of(self.every, n, method, correction, fills_up)
        weights, scans, tau = self._weights()
        positive = int(scans[:, 1].sum())
        if method not in WITHOUT_REPLACEMENT or n <= positive:
            scans = scans.to(weights.device)
            stages = part_of_draw(weights, scans, self.ranks.rank, n, method, self.seed)
        elif fills_up and n <= self.rows:
            few = self.candidates < n
            sizes = sizes_to_fill_up(weights, self.left_out, self.rows, few)
            scans = self.ranks.gather(scan_of(sizes))
            stages = part_of_draw(sizes, scans, self.ranks.rank, n, "pps", self.seed)
        else:
            raise status_error(-1 - positive, n, method)
        found = self.ranks.follow(stages)
        # All ranks know of each draw whose it is, and its weight.
        elsewhere = found.index == ELSEWHERE
        drawn_by = pad(weights.to(found.prob.dtype), (0, 1))[found.index].masked_fill(elsewhere, 0)
        numbers = bits_of(torch.stack([found.prob, drawn_by]))
        every = self.ranks.gather(torch.cat([numbers, 1 + found.index[None]]))
        prob, drawn_by = numbers_of(every[:, :2].sum(0), found.prob.dtype).unbind()
        weight = corrected(prob, drawn_by, self.rows, kind_of(method), correction)
        return Share(found.index, weight, every[:, 2].argmax(0), tau)

    def _share_of(
        self, every: Gathered, n: int, method: str, correction: str | float, fills_up: bool
    ) -> Share:
        """The same where every rank has the scores of all."""
        weights, tau = smoothed(every.numbers, self._smoothing, every.left_out)
        positive = int((weights > 0).sum())
        if method not in WITHOUT_REPLACEMENT or n <= positive:
            drawn = draw(weights, n, method, self.seed)
        elif fills_up and n <= self.rows:
            drawn = fill_up(weights, every.left_out, n, self.seed)
        else:
            raise status_error(-1 - positive, n, method)
        drawn_by = weights.index_select(0, drawn.index)
        weight = corrected(drawn.prob, drawn_by, self.rows, kind_of(method), correction)
        index, owner = places(every.sizes, self.ranks.rank, drawn.index)
        return Share(index, weight, owner, tau)

    def tau(self) -> Tensor | None:
        """What the scores say, []; None where no row may be drawn."""
        if not self.candidates:
            return None
        if self.every is not None:
            return smoothed(self.every.numbers, self._smoothing, self.every.left_out).tau
        return self._weights()[2]

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """The weights [k], the scans [ranks, 4] of those of all ranks, and tau [].

        They become what rows are drawn by as :func:`smoothed` has it.
        """
        device = self._scores.device
        if self._largest == 0:  # all candidates are equal
            one = torch.ones_like(self._largest)
            weights = self._without(torch.ones_like(self._scores, dtype=self._dtype))
            equal = one * math.sqrt(self.rows / self.candidates)
            return weights, self._scans_of(one), equal.to(device)
        # In units of the largest score of all.
        largest = float(self._largest)
        relative = numbers_of(self._scans[:, 0], self._dtype).double() / largest
        sums = self.ranks.gather(_sums_of(self._scores).cpu())
        first = float((sums[:, 0] * relative).sum())
        second = float((sums[:, 1] * relative.square()).sum())
        weights, scans = self._scores, self._scans
        if self._smoothing != 0:
            keep = torch.tensor(1.0 - self._smoothing, dtype=self._dtype, device="cpu")
            lift = self._mean() * torch.tensor(self._smoothing, dtype=self._dtype, device="cpu")
            weights = self._without(self._smoothed(self._scores, keep, lift))
            scans = self._scans_of(self._smoothed(self._largest, keep, lift))
            share, rest, count = float(lift) / largest, float(keep), self.candidates
            second = rest**2 * second + 2 * rest * share * first + count * share**2
            first = rest * first + count * share
        tau = math.sqrt(self.rows * second) / first
        return weights, scans, torch.tensor(tau, dtype=self._dtype, device="cpu").to(device)

    def _mean(self) -> Tensor:
        """The mean score of all candidates, from the fixed point of all."""
        device = self._scores.device
        rows = torch.tensor(self.rows, device=device)
        total = self.ranks.gather(total_of(self._scores, self._largest.to(device), rows)).sum()
        mean = total.cpu().to(self._dtype) / self._candidates.sum().to(self._dtype)
        shift = 63 - (self.rows - 1).bit_length() - math.frexp(float(self._largest))[1]
        scaled = torch.tensor(math.ldexp(float(mean), -shift), dtype=self._dtype, device="cpu")
        return torch.minimum(scaled, self._largest)

    def _smoothed(self, scores: Tensor, keep: Tensor, lift: Tensor) -> Tensor:
        least = numbers_of(torch.ones_like(self._scans[0, 0]), self._dtype)
        lifted = scores.to(self._dtype) * keep.to(scores.device) + lift.to(scores.device)
        return lifted.clamp(least.to(scores.device), self._largest.to(scores.device))

    def _without(self, weights: Tensor) -> Tensor:
        return weights if self.left_out is None else weights.masked_fill(self.left_out, 0)

    def _scans_of(self, largest: Tensor) -> Tensor:
        """The scans of weights that all candidates have."""
        bits = bits_of(largest).expand_as(self._candidates)
        fine = torch.zeros_like(bits)
        return torch.stack([bits, self._candidates, self._scans[:, 2], fine], dim=1)


def _sums_of(scores: Tensor) -> Tensor:
    """The sums of the scores and of their squares, in units of the largest: [2] float64."""
    scores = scores.double()
    largest = scores.amax() if len(scores) else scores.new_zeros(())
    relative = torch.where(largest > 0, scores / largest, 0.0)
    return torch.stack([relative.sum(), relative.square().sum()])
