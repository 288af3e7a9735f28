"""What a selector scores rows with, and how it draws of those that were scored."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from impsamp_fast._faults import OnFault
from impsamp_fast.batch._last_layer import LastLayer
from impsamp_fast.batch._nested import as_target
from impsamp_fast.batch._row_drawer import RowDrawer
from impsamp_fast.batch._step_log import StepLog
from impsamp_fast.batch._trained_loss import WithTrainedLoss
from impsamp_fast.batch._user_score import Scored, UserScore
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.diversity import FeatureRule
from impsamp_fast.batch.draw_rules import DrawRule
from impsamp_fast.batch.filters import Filter
from impsamp_fast.batch.learned_score import LearnedScore
from impsamp_fast.batch.scoring_pass import Scorer, ScoringPass
from impsamp_fast.distributed._select import Scores


class ScoresRows(WithTrainedLoss):
    """The part of a :class:`~impsamp_fast.Selector` that knows no steps."""

    model: nn.Module
    n: int
    method: str | DrawRule
    correction: str | float
    smoothing: float
    filter: Filter | None
    layer: str | nn.Module | None
    dropout: bool
    on_fault: OnFault
    _columns: Columns | None
    _score: str | UserScore
    _scorer: Scorer
    _log: StepLog

    def _scored(self, x: Any, y: Tensor, index: Tensor | None, *, aside: bool = False) -> Scored:
        """The rows with all that their scores are made of; aside, it is no part of a step."""
        compiled = self._scorer.compile_seconds
        scored = self._with_what_it_takes(self._forward(x, y), x, index)
        if self._scorer.compile_seconds != compiled:  # no step takes as long again
            self._log.stop()
        elif not aside:
            self._log.mark("scoring", y.shape[0])
        return scored

    def _forward(self, x: Any, y: Tensor, large: int | None = None) -> Scored:
        """The logits of the rows, and the input of the last layer where the score needs it."""
        logits, features = self._scorer(self.model, self._of_model(x), y, large)
        return Scored(logits, y, features)

    def _with_what_it_takes(self, scored: Scored, x: Any, index: Tensor | None) -> Scored:
        if not isinstance(self._score, UserScore):
            return scored
        return self._score.with_what_it_takes(scored, self._of_model(x), index)

    def _roles(self, x: Any, y: Any, index: Any) -> tuple[Any, Any, Any]:
        """The x, y and index of what a call was given."""
        if self._columns is not None:
            x, y, index = self._columns.roles(x, y, index)
        return x, as_target(y), index

    def _of_model(self, x: Any) -> Any:
        """What the model is called with."""
        return x if self._columns is None else self._columns.of_model(x)

    def _scores_by(self, scorer: Scorer, x: Any, y: Tensor, index: Tensor | None) -> Tensor:
        """The scores of rows by another scoring pass."""
        logits, features = scorer(self.model, self._of_model(x), y)
        scored = self._with_what_it_takes(Scored(logits, y, features), x, index)
        return self._drawer().scores(scored)

    def _scorer_of(self, scoring: ScoringPass | None) -> Scorer:
        watched = None
        if self._score == "last_layer":
            watched = LastLayer(self.layer)
        elif isinstance(self.method, FeatureRule):
            reason = f"method is {self.method!r}, which looks at the last layer"
            watched = LastLayer(self.layer, reason, bias=False)
        return Scorer(scoring, self.n, self.dropout, watched)

    def _drawer(self) -> RowDrawer:
        return RowDrawer(
            self._score,
            self.method,
            self.correction,
            self.smoothing,
            self.filter,
            self._loss,
            self.on_fault,
        )

    def _scores_of(self, x: Any, y: Tensor, index: Tensor | None) -> Scores:
        """The scores of rows, which are what they must be, and the rows that have no target."""
        ignored = self._loss.ignored(y)
        scores = self._drawer().scores(self._scored(x, y, index))
        if isinstance(self._score, UserScore):
            self._score.check(scores if ignored is None else scores.masked_fill(ignored, 0))
        return Scores(scores, ignored)

    @property
    def _learned(self) -> LearnedScore | None:
        """The score, if it learns."""
        return self._score.learned if isinstance(self._score, UserScore) else None

    def _learning_from(self, scored: Scored) -> Callable[[], None] | None:
        if not isinstance(self._score, UserScore) or self._score.learned is None:
            return None
        return partial(self._score.learn, scored)

    def _check_index(self, index: Tensor | None) -> None:
        if index is None and isinstance(self._score, UserScore) and self._score.needs_index:
            raise ValueError(
                "index is missing, and the score function takes it: call selector(x, y, index)"
            )

    @property
    def _is_weighted(self) -> bool:
        """Whether rows have weights that depend on how likely they were."""
        return self.correction != "none" and self._drawer().kind != "deterministic"
