"""From the logits of a large batch to the rows that are drawn by importance."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from impsamp_fast._seeds import second_seed
from impsamp_fast._uniform import fill
from impsamp_fast.batch import draw_rules as rules
from impsamp_fast.batch._fill_up import WITHOUT_REPLACEMENT, fill_up
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch._user_score import Scored, UserScore, positive_if_negative
from impsamp_fast.batch.draw_rules import DrawRule
from impsamp_fast.batch.filters import Filter, rows_that_pass
from impsamp_fast.ops import Draw, corrected, row_stats, select, smoothed
from impsamp_fast.ops import score as score_of
from impsamp_fast.ops._status import status_error

# Bytes of a step's rows that are kept to explain why nothing could be drawn from them.
_MOST_KEPT = 1 << 20


class Drawn(NamedTuple):
    """Drawn rows: ``row`` [n], ``weight`` [n], and ``tau`` [] where rows were scored.

    On an accelerator ``status`` [] is 0 if they could be drawn, and ``explain`` makes the error for
    another one.
    """

    row: Tensor
    weight: Tensor
    tau: Tensor | None = None
    status: Tensor | None = None
    explain: Callable[[int], Exception] | None = None


@dataclass(slots=True)
class RowDrawer:
    """Draws rows by their scores; see :class:`~impsamp_fast.Selector` for its parts."""

    score: str | UserScore
    method: str | DrawRule
    correction: str | float
    smoothing: float
    filter: Filter | None
    loss: TrainedLoss

    def draw(self, scored: Scored, n: int, seed: int | Tensor) -> Drawn:
        """n of the rows, or of those that pass the filter."""
        if self.filter is None:
            return self._draw(scored, n, seed)
        assert isinstance(seed, int)
        y = scored.y
        stats = row_stats(scored.logits, y, **self.loss.options(y.device))
        passing, others = rows_that_pass(self.filter, stats, y, self.loss.ignored(y))
        pool = fill(passing, others, n, second_seed(seed))
        if pool.numel() == 0:  # no row has a target, which drawing says
            return self._draw(scored, n, seed)
        drawn = self._draw(scored.rows(pool), n, seed)
        return drawn._replace(row=pool.index_select(0, drawn.row))

    def check(self) -> None:
        """The operator knows what fits: an error comes now, not after a uniform phase."""
        logits, y = self.loss.example()
        score = self.score if isinstance(self.score, str) else "loss"
        method = self.method if isinstance(self.method, str) else "multinomial"
        features = logits if score == "last_layer" else None
        self._select(Scored(logits, y, features), 1, score, method, seed=0)

    def _draw(self, scored: Scored, n: int, seed: int | Tensor) -> Drawn:
        """One call of ``select``, unless the score or the method is none of its own."""
        if isinstance(self.score, str) and isinstance(self.method, str):
            return self._select(scored, n, self.score, self.method, seed)
        logits, y, features = scored.logits, scored.y, scored.features
        if isinstance(self.score, str):
            scores = score_of(logits, y, self.score, features, **self.loss.options(y.device))
            explain = self._explainer(self._draw_scored, n, logits, y, features)
        else:
            scores = self.score(scored)
            explain = self._explainer(self._draw_by, n, scores, y)
        return self._draw_by(scores, y, n, seed)._replace(explain=explain)

    def _draw_scored(
        self, logits: Tensor, y: Tensor, features: Tensor | None, n: int, seed: int | Tensor
    ) -> Drawn:
        return self._draw(Scored(logits, y, features), n, seed)

    def _draw_by(self, scores: Tensor, y: Tensor, n: int, seed: int | Tensor) -> Drawn:
        """n rows by scores of theirs, with the errors of the CPU where they are on it."""
        if not isinstance(self.score, str):
            self.score.check(scores)
        if self.loss.ignores_all(y):
            raise ValueError(
                f"y is ignore_index ({self.loss.ignore_index}) in every row, so none can be drawn"
            )
        ignored = self.loss.ignored(y)
        may_be_negative = not isinstance(self.score, str) and self.score.negative
        weights = positive_if_negative(scores, ignored) if may_be_negative else scores
        weights, tau = smoothed(weights, self.smoothing, ignored)
        rule = self.method if isinstance(self.method, DrawRule) else rules.Method(self.method)
        drawn = self._draw_or_fill_up(rule, weights, ignored, n, seed)
        drawn_by = weights.index_select(0, drawn.index)
        weight = corrected(drawn.prob, drawn_by, weights.numel(), rule.kind, self.correction)
        if may_be_negative:
            tau = tau.masked_fill((scores < 0).any(), torch.nan)
        if scores.is_cpu:
            return Drawn(drawn.index, weight, tau)
        sound = scores.isfinite() if may_be_negative else scores.isfinite() & (scores >= 0)
        fine = sound.all() & ~drawn.prob.isnan().any()
        weight = weight.masked_fill(~fine, 0)
        return Drawn(drawn.index, weight, tau, (~fine).to(torch.int64))

    def _draw_or_fill_up(
        self, rule: DrawRule, weights: Tensor, ignored: Tensor | None, n: int, seed: int | Tensor
    ) -> Draw:
        """The rule's draw, and by a method without replacement more rows than have a weight."""
        if not isinstance(rule, rules.Method) or rule.name not in WITHOUT_REPLACEMENT:
            return rule(weights, n, seed)
        few = (weights > 0).sum() < n
        if few.is_cpu:
            return fill_up(weights, ignored, n, seed) if few else rule(weights, n, seed)
        # The host does not wait to know, so that both are drawn.
        drawn, filled = rule(weights, n, seed), fill_up(weights, ignored, n, seed)
        index = torch.where(few, filled.index, drawn.index)
        return Draw(index, torch.where(few, filled.prob, drawn.prob))

    def _select(self, scored: Scored, n: int, score: str, method: str, seed: int | Tensor) -> Drawn:
        logits, y, features = scored.logits, scored.y, scored.features
        options = self.loss.options(y.device)
        try:
            selection = select(
                logits,
                y,
                n,
                score=score,
                method=method,
                correction=self.correction,
                features=features,
                smoothing=self.smoothing,
                seed=seed,
                **options,
            )
        except ValueError as error:
            if method not in WITHOUT_REPLACEMENT or self.loss.ignores_all(y):
                raise
            try:
                scores = score_of(logits, y, score, features, **options)
            except ValueError:
                raise error from None
            row, weight, tau = self._fill_up(scores, y, n, method, seed)
            return Drawn(row, weight, tau)
        explain = self._explainer(self._draw_scored, n, logits, y, features)
        drawn = Drawn(selection.index, selection.weight, selection.tau, selection.status, explain)
        if selection.status.is_cpu or method not in WITHOUT_REPLACEMENT:
            return drawn
        # The host does not wait to know whether rows lack, so that both are drawn.
        row, weight, tau = self._fill_up(selection.score, y, n, method, seed)
        lacks = selection.status < -1
        return drawn._replace(
            row=torch.where(lacks, row, drawn.row),
            weight=torch.where(lacks, weight, drawn.weight),
            tau=torch.where(lacks, tau, selection.tau),
            status=torch.where(lacks, 0, selection.status),
        )

    def _fill_up(
        self, scores: Tensor, y: Tensor, n: int, method: str, seed: int | Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """More rows than have a score, [n], with their weights [n] and tau []."""
        ignored = self.loss.ignored(y)
        weights, tau = smoothed(scores, self.smoothing, ignored)
        index, prob = fill_up(weights, ignored, n, seed)
        kind = rules.Method(method).kind
        drawn_by = weights.index_select(0, index)
        weight = corrected(prob, drawn_by, weights.numel(), kind, self.correction)
        return index, weight, tau

    def _explainer(
        self, draw: Callable[..., Drawn], n: int, *tensors: Tensor | None
    ) -> Callable[[int], Exception] | None:
        """What makes a failed draw's error; it keeps the tensors until the status is known."""
        if tensors[0] is not None and tensors[0].is_cpu:
            return None  # what cannot be drawn has been raised
        if sum(tensor.nbytes for tensor in tensors if tensor is not None) > _MOST_KEPT:
            return partial(status_error, n=n, method=str(self.method))
        return partial(self._error, draw, n, tensors)

    def _error(
        self, draw: Callable[..., Drawn], n: int, tensors: tuple[Tensor | None, ...], status: int
    ) -> Exception:
        """Why rows could not be drawn on an accelerator: the CPU's error, from the CPU."""
        try:
            draw(*(None if tensor is None else tensor.cpu() for tensor in tensors), n, 0)
        except (ValueError, IndexError) as error:
            return error
        return status_error(status, n, str(self.method))
