"""Draw rules: from the rows' scores to the rows, where ``draw`` has no method for it."""

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._settings import ShowsSettings
from impsamp_fast.ops import Draw, Kind, draw
from impsamp_fast.ops._corrected import kind_of


class DrawRule(ShowsSettings, ABC):
    """Picks rows by their scores.

    A rule of your own derives from this class and implements both. It takes its random numbers
    from the seed it is given, with :func:`~impsamp_fast.draw`, and from nowhere else.
    """

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """How the rows are drawn, which decides what the "unbiased" weights are.

        With K scores, m rows and the draw's ``prob``: 1 / (K prob) "with replacement", where
        ``prob`` is the row's probability in one draw, m / (K prob) "without replacement", where it
        is the row's probability to be among the m, and always 1 where "deterministic".
        """

    @abstractmethod
    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        """Draws rows.

        Args:
            scores: [K], float32 or float64, not negative. A row of score 0 must not be drawn as
                long as there are others: it may be one without a target.
            n: how many rows are wanted, at most K. A rule may return another number of rows.
            seed: an integer of 64 bits, which decides.

        Returns:
            ``Draw(index, prob)``, [m] each: index int64, prob of the dtype of ``scores``.
        """


@final
class Method(DrawRule):
    """A method of :func:`~impsamp_fast.draw` as a rule.

    Args:
        name: the method.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def kind(self) -> Kind:
        """That of the method."""
        return kind_of(self.name)

    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        """As :func:`~impsamp_fast.draw`, with its errors."""
        return draw(scores, n, self.name, seed)


@final
class TopQuantile(DrawRule):
    """All rows whose score is above the quantile q of the positive scores; at least one.

    The top-q selector of Smedås (2021), on losses. How many rows that are varies with the scores,
    whatever n says: of K different scores it is ceil((1 - q) (K - 1)). The quantile is interpolated
    linearly; where no score is above it, as when all are equal, the first of the largest is taken.
    Rows come in ascending order. On an accelerator the host waits for their number.

    Args:
        q: in [0, 1).

    Raises:
        TypeError: if ``q`` is not a number.
        ValueError: if it is not in [0, 1).
    """

    def __init__(self, q: float) -> None:
        self.q = check_number("q", q, 0, 1)

    @property
    def kind(self) -> Kind:
        """Deterministic."""
        return "deterministic"

    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        """The rows above the quantile, [m], prob 1."""
        positive = scores[scores > 0]
        index = scores.argmax().reshape(1)
        if positive.numel():
            above = (scores > _quantile(positive, float(self.q))).nonzero().squeeze(1)
            index = above if above.numel() else index
        return Draw(index, torch.ones_like(index, dtype=scores.dtype))


@final
class LossSplit(DrawRule):
    r"""The same number of rows from each of q parts of equal weight, uniformly.

    The loss q-split of Smedås (2021): with the rows sorted by ascending score s, the cumulative
    sum of :math:`s^p` is cut into q equal parts; a row belongs to the part in which its own sum
    ends. From each bucket n / q rows are drawn uniformly without replacement.

    Where q does not divide n, or a bucket has fewer rows than its share, all of its rows are taken
    and the others share what is missing equally, with the odd rows to the largest buckets. Rows of
    score 0 are in no bucket and drawn only where the others are fewer than n. Rows come bucket by
    bucket, from the lowest scores to the highest.

    Args:
        q: the number of buckets, at least 1.
        p: the power, at least 0, where 0 cuts the rows into buckets of equal number.

    Raises:
        TypeError: if ``q`` is not an integer or ``p`` not a number.
        ValueError: if they are out of their ranges.
    """

    def __init__(self, q: int = 2, p: float = 2.0) -> None:
        self.q = check_integer("q", q, 1)
        self.p = check_number("p", p, 0)

    @property
    def kind(self) -> Kind:
        """Without replacement."""
        return "without replacement"

    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        """n rows, and for each the share of its bucket's rows that was drawn."""
        bucket = self._buckets(scores)
        q = int(self.q)
        rows = torch.zeros(q + 1, dtype=torch.int64, device=scores.device)
        rows = rows.index_add(0, bucket, torch.ones_like(bucket))
        share = _shares(rows, n)
        # A random order of all rows, in which each bucket's share comes first.
        order = draw(torch.ones_like(scores), scores.numel(), "race", seed).index
        bucket_of, by_bucket = bucket[order].sort(stable=True)
        order = order[by_bucket]
        first = rows.cumsum(0) - rows
        place = torch.arange(scores.numel(), device=scores.device) - first[bucket_of]
        # n rows are taken, but only the device knows which: sorting them to the front tells the
        # host nothing and makes it wait for nothing.
        taken = (place < share[bucket_of]).to(torch.int8).argsort(descending=True, stable=True)[:n]
        prob = share.to(scores.dtype) / rows.clamp(min=1)
        return Draw(order[taken], prob[bucket_of[taken]])

    def _buckets(self, scores: Tensor) -> Tensor:
        """The bucket of each row [K], 0 for the rows of score 0 and then from 1 upwards."""
        ascending, order = scores.sort(stable=True)
        # Relative to the largest no power overflows.
        powers = (ascending / ascending[-1].clamp(min=torch.finfo(scores.dtype).tiny)) ** self.p
        powers = powers * (ascending > 0)
        end = powers.cumsum(0, dtype=torch.float64)
        parts = torch.arange(1, int(self.q), dtype=torch.float64, device=scores.device)
        cuts = parts * end[-1] / int(self.q)
        bucket = torch.empty_like(order)
        bucket[order] = (1 + torch.bucketize(end, cuts)) * (ascending > 0)
        return bucket


@final
class MaxVariance(DrawRule):
    """The n rows whose scores have the largest variance, such as the rewards of rollouts.

    PODS of Xu et al. (2025): these are always some of the lowest and the rest of the highest
    scores, so that sorting the scores and trying each split finds them. Rows come in ascending
    order of their scores. A row of score 0 is taken only where the others are fewer than n; the
    variance does not change where all scores are shifted to be positive.
    """

    @property
    def kind(self) -> Kind:
        """Deterministic."""
        return "deterministic"

    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        """The n rows, prob 1."""
        K = scores.numel()
        order = scores.argsort(stable=True)
        zeros = (scores <= 0).sum().clamp(max=K - n)
        place = torch.arange(n + 1, device=scores.device)
        # Split k takes the first k of the rows that have a score and the last n - k of all.
        centred = scores.to(torch.float64) - scores.mean(dtype=torch.float64)
        ascending = centred[order]
        low = ascending[zeros + place[:n]]
        high = ascending[K - n :]
        variance = _of_splits(low.square(), high.square()) / n
        variance -= (_of_splits(low, high) / n).square()
        split = variance.argmax()
        place = place[:n]
        index = order[torch.where(place < split, zeros + place, K - n + place)]
        return Draw(index, torch.ones_like(index, dtype=scores.dtype))


@final
class ScoreAsWeight(DrawRule):
    """Takes every row, with its score as its weight where the correction is "unbiased".

    For scores that are weights, such as those of a MentorNet. Whatever n says, all rows are
    trained on; a row of score 0 has weight 0.
    """

    @property
    def kind(self) -> Kind:
        """With replacement, as far as the weights go."""
        return "with replacement"

    def __call__(self, scores: Tensor, n: int, seed: int | Tensor) -> Draw:
        """All K rows in order, with the prob whose 1 / (K prob) is the score."""
        index = torch.arange(scores.numel(), device=scores.device)
        return Draw(index, 1 / (scores.numel() * scores))


def _of_splits(low: Tensor, high: Tensor) -> Tensor:
    """The sums of the first k of ``low`` and all but the first k of ``high``, for k from 0 to n."""
    none = low.new_zeros(1)
    return torch.cat([none, low.cumsum(0)]) + high.sum() - torch.cat([none, high.cumsum(0)])


def keep_each(prob: Tensor, seed: int) -> Tensor:
    """Keeps each row independently with its own probability.

    Args:
        prob: [K], floating point, in [0, 1]; rounded to multiples of 2^-24.
        seed: as in :func:`~impsamp_fast.draw`; the same rows on every device.

    Returns:
        [K] bool.
    """
    # A pair (prob, 1 - prob) for each row: K strata of equal weight are these pairs, and of each
    # one number is drawn. The rounding makes the pairs' sums exactly equal.
    prob = (prob.to(torch.float32) * 2**24).round() / 2**24
    pairs = torch.stack([prob, 1 - prob], dim=1).flatten()
    return draw(pairs, prob.numel(), "stratified", seed).index % 2 == 0


def _quantile(values: Tensor, q: float) -> Tensor:
    """The linearly interpolated quantile; torch.quantile takes no more than 2^24 values."""
    ascending = values.sort().values
    position = q * (values.numel() - 1)
    low = math.floor(position)
    high = min(low + 1, values.numel() - 1)
    return torch.lerp(ascending[low], ascending[high], position - low)


def _shares(rows: Tensor, n: int) -> Tensor:
    """How many of n rows each bucket gives, [q + 1]: equal shares as far as its rows go.

    Bucket 0 has the rows of score 0 and gives only what the others cannot.
    """
    left = torch.full_like(rows[0], n)
    # From the fewest rows to the most: what a bucket lacks is shared by those that have more.
    ascending, bucket = rows[1:].sort(stable=True)
    shares = []
    for i, available in enumerate(ascending.unbind()):
        fair = left.div(len(ascending) - i, rounding_mode="floor")
        shares.append(torch.minimum(fair, available))
        left = left - shares[-1]
    share = torch.empty_like(rows).index_copy_(0, bucket + 1, torch.stack(shares))
    share[0] = left
    return share
