"""From the logits of a large batch to the rows that are drawn by importance."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from impsamp_fast._faults import OnFault, marked
from impsamp_fast._fill_up import fill_up
from impsamp_fast._seeds import second_seed
from impsamp_fast._uniform import fill
from impsamp_fast.batch import draw_rules as rules
from impsamp_fast.batch._faults import Found, examined, explainer, without_class
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch._user_score import Scored, UserScore, positive_if_negative
from impsamp_fast.batch.diversity import FeatureRule
from impsamp_fast.batch.draw_rules import DrawRule
from impsamp_fast.batch.filters import Filter, rows_that_pass
from impsamp_fast.ops import Draw, corrected, row_stats, select, smoothed
from impsamp_fast.ops import score as score_of
from impsamp_fast.ops._stages import WITHOUT_REPLACEMENT
from impsamp_fast.ops._status import first_fault, status_error


class Drawn(NamedTuple):
    """Drawn rows: ``row`` [n] and ``weight`` [n]; where rows were scored also ``tau`` [].

    ``score`` and, where the operator has it, ``loss`` are those of the rows that were scored.
    ``found`` is what was wrong with them.
    ``sizes`` are those of the mini-batches that the drawn rows are, one after the other; None of a
    single one. ``learn`` shows the rows that were scored to a score that learns.
    """

    row: Tensor
    weight: Tensor
    tau: Tensor | None = None
    score: Tensor | None = None
    loss: Tensor | None = None
    found: Found = Found()
    sizes: list[int] | None = None
    learn: Callable[[], None] | None = None


@dataclass(slots=True)
class RowDrawer:
    """Draws rows by their scores; see :class:`~impsamp_fast.Selector` for its parts."""

    score: str | UserScore
    method: str | DrawRule
    correction: str | float
    smoothing: float
    filter: Filter | None
    loss: TrainedLoss
    on_fault: OnFault

    def draw(self, scored: Scored, n: int, seed: int | Tensor) -> Drawn:
        """n of the rows, or of those that pass the filter."""
        if self.filter is None:
            return self._draw(scored, n, seed)
        assert isinstance(seed, int)
        rows = examined(row_stats, scored.logits, scored.y, self.loss, self.on_fault)
        passing, others = rows_that_pass(self.filter, rows.statistics, scored.y, rows.left_out)
        pool = fill(passing, others, n, second_seed(seed))
        if pool.numel() == 0:  # no row has a target, which drawing says, or is sound
            return _with_faults(self._draw(scored, n, seed), rows.found)
        drawn = self._draw(scored.rows(pool), n, seed)
        drawn = drawn._replace(row=pool.index_select(0, drawn.row))
        found = rows.found
        if found.skipped is not None and drawn.found.skipped is not None:
            found = found._replace(skipped=found.skipped + drawn.found.skipped)
        return _with_faults(drawn, found)

    @property
    def kind(self) -> str:
        """How the rows are drawn, see :class:`~impsamp_fast.DrawRule`."""
        return self._rule.kind

    @property
    def _rule(self) -> DrawRule:
        return self.method if isinstance(self.method, DrawRule) else rules.Method(self.method)

    def scores(self, scored: Scored) -> Tensor:
        """The scores [K] that rows are drawn by, before they are smoothed."""
        if isinstance(self.score, str):
            return self._scores(scored.logits, scored.y, scored.features)
        return self.score(scored)

    def check(self) -> None:
        """The operator knows what fits: an error comes now, not after a uniform phase."""
        logits, y = self.loss.example()
        score = self.score if isinstance(self.score, str) else "loss"
        method = self.method if isinstance(self.method, str) else "multinomial"
        features = logits if score == "last_layer" else None
        self._select(Scored(logits, y, features), 1, score, method, seed=0)

    def _draw(self, scored: Scored, n: int, seed: int | Tensor) -> Drawn:
        """One call of ``select``, unless the score or the method is none of its own."""
        if isinstance(self.method, str):
            if isinstance(self.score, str) and self.on_fault == "raise":
                return self._select(scored, n, self.score, self.method, seed)
        elif isinstance(self.method, FeatureRule):
            bound = replace(self, method=self.method.of(scored, self.loss))
            return bound._draw(scored, n, seed)
        if self.on_fault == "skip":
            return self._draw_sound(scored, n, seed)
        ignored = self.loss.ignored(scored.y)
        scores = self.scores(scored)
        if isinstance(self.score, str):
            explain = self._explainer(
                self._draw_scored, n, scored.logits, scored.y, scored.features
            )
        else:
            explain = self._explainer(self._draw_by, n, scores, ignored)
        drawn = self._draw_by(scores, ignored, n, seed)
        return drawn._replace(found=drawn.found._replace(explain=explain))

    def _draw_sound(self, scored: Scored, n: int, seed: int | Tensor) -> Drawn:
        """n of the rows that are not faulty; where all are, of those with a target, uniformly."""
        without_target = ignored = self.loss.ignored(scored.y)
        if isinstance(self.score, str):
            scores = marked(self._scores, scored.logits, scored.y, scored.features)
            without_target = without_class(scored.y, scored.logits.shape[1], ignored)
        else:
            scores = self.score(scored)
        faulty = ~scores.isfinite()
        if ignored is not None:
            faulty = faulty & ~ignored
        left_out = faulty if without_target is None else faulty | without_target
        all_faulty = left_out.all()
        if without_target is None:
            left_out = left_out & ~all_faulty
        else:
            left_out = torch.where(all_faulty, without_target, left_out)
        scores = scores.masked_fill(~scores.isfinite(), 0)
        drawn = self._draw_by(scores, left_out, n, seed)
        assert drawn.tau is not None
        # What is drawn of these since the others are fewer than n weighs nothing.
        none = left_out.index_select(0, drawn.row)
        first_sound = (~left_out).to(torch.uint8).argmax()
        explain = self._explainer(self._draw_by, n, scores, left_out)
        return Drawn(
            torch.where(none, first_sound, drawn.row),
            drawn.weight.masked_fill(none, 0),
            drawn.tau.masked_fill(all_faulty, torch.nan),
            scores,
            None,
            Found(drawn.found.status, explain, faulty.sum()),
        )

    def _draw_scored(
        self, logits: Tensor, y: Tensor, features: Tensor | None, n: int, seed: int | Tensor
    ) -> Drawn:
        return self._draw(Scored(logits, y, features), n, seed)

    def _draw_by(
        self, scores: Tensor, left_out: Tensor | None, n: int, seed: int | Tensor
    ) -> Drawn:
        """n rows by scores of theirs, with the errors of the CPU where they are on it."""
        if not isinstance(self.score, str):
            self.score.check(scores)
        # What a graph cannot branch on raises in its operators.
        raises = scores.is_cpu and not is_compiling()
        if raises and left_out is not None and left_out.all():
            raise ValueError(
                f"y is ignore_index ({self.loss.ignore_index}) in every row, or no class, so none "
                "can be drawn"
            )
        may_be_negative = not isinstance(self.score, str) and self.score.negative
        weights = positive_if_negative(scores, left_out) if may_be_negative else scores
        weights, tau = smoothed(weights, self.smoothing, left_out)
        rule = self._rule
        drawn = self._draw_or_fill_up(rule, weights, left_out, n, seed)
        drawn_by = weights.index_select(0, drawn.index)
        weight = corrected(drawn.prob, drawn_by, weights.numel(), rule.kind, self.correction)
        if may_be_negative:
            tau = tau.masked_fill((scores < 0).any(), torch.nan)
        if scores.is_cpu:
            return Drawn(drawn.index, weight, tau, scores)
        sound = scores.isfinite() if may_be_negative else scores.isfinite() & (scores >= 0)
        chances = (weights > 0).sum()
        too_few = drawn.prob.isnan().any() | (chances == 0)
        status = torch.where(too_few, -1 - chances, 0)
        status = torch.where(sound.all(), status, first_fault(~sound))
        weight = weight.masked_fill(status != 0, 0)
        return Drawn(drawn.index, weight, tau, scores, found=Found(status))

    def _scores(self, logits: Tensor, y: Tensor, features: Tensor | None) -> Tensor:
        assert isinstance(self.score, str)
        features = features if self.score == "last_layer" else None  # a rule may have asked
        return score_of(logits, y, self.score, features, **self.loss.options(y.device))

    def _draw_or_fill_up(
        self, rule: DrawRule, weights: Tensor, left_out: Tensor | None, n: int, seed: int | Tensor
    ) -> Draw:
        """The rule's draw, and by a method without replacement more rows than have a weight."""
        if not isinstance(rule, rules.Method) or rule.name not in WITHOUT_REPLACEMENT:
            return rule(weights, n, seed)
        few = (weights > 0).sum() < n
        if few.is_cpu and not is_compiling():
            return fill_up(weights, left_out, n, seed) if few else rule(weights, n, seed)
        # The host does not wait to know, so that both are drawn.
        drawn, filled = rule(weights, n, seed), fill_up(weights, left_out, n, seed)
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
            return Drawn(row, weight, tau, scores)
        row, weight, scores, losses, tau, status = selection
        if status.is_cpu:  # what cannot be drawn has been raised
            return Drawn(row, weight, tau, scores, losses)
        explain = self._explainer(self._draw_scored, n, logits, y, features)
        if method in WITHOUT_REPLACEMENT:
            # The host does not wait to know whether rows lack, so that both are drawn.
            lacks = status < -1
            filled = self._fill_up(scores, y, n, method, seed)
            drawn = (row, weight, tau)
            row, weight, tau = (
                torch.where(lacks, *both) for both in zip(filled, drawn, strict=True)
            )
            status = torch.where(lacks, 0, status)
        return Drawn(row, weight, tau, scores, losses, Found(status, explain))

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
        """What makes a failed draw's error."""
        if tensors[0] is not None and tensors[0].is_cpu:
            return None  # what cannot be drawn has been raised
        otherwise = partial(status_error, n=n, method=str(self.method))
        return explainer(lambda *on_cpu: draw(*on_cpu, n, 0), tensors, otherwise)


def _with_faults(drawn: Drawn, found: Found) -> Drawn:
    """The same with the faults that were found before it was drawn."""
    if found.status is None:
        return drawn._replace(found=drawn.found._replace(skipped=found.skipped))
    assert drawn.found.status is not None
    status = torch.where(found.status != 0, found.status, drawn.found.status)
    weight = drawn.weight.masked_fill(found.status != 0, 0)
    return drawn._replace(weight=weight, found=Found(status, found.explain))
