"""From a large batch to the mini-batch to train on, for any model that gives logits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, final, get_args

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from impsamp_fast._checks import check_choice, check_integer, check_range, to_number
from impsamp_fast._faults import OnFault
from impsamp_fast._readback import Tally
from impsamp_fast._seeds import (
    rank_here,
    seed_of_rank,
    seed_of_run,
    seed_of_step,
    seed_of_traced_step,
)
from impsamp_fast._uniform import uniform_rows
from impsamp_fast._watch import StatusWatch
from impsamp_fast.batch._arguments import check_batch, check_draw_parts, check_parts, unpack
from impsamp_fast.batch._first_call import FirstCall
from impsamp_fast.batch._nested import as_given, gather, narrow
from impsamp_fast.batch._overlap import Overlap
from impsamp_fast.batch._pool import Pool, Rows, draw_pool
from impsamp_fast.batch._row_drawer import Drawn
from impsamp_fast.batch._scores_rows import ScoresRows
from impsamp_fast.batch._states import check_seed_and_step, device_of, load_rule_and_counts
from impsamp_fast.batch._step_log import Observe, StepLog
from impsamp_fast.batch._step_of_ranks import ranks_that_draw, rule_together, step_of_ranks
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch._tuning import Tuning, axes_of
from impsamp_fast.batch._user_score import Scored, ScoreFunction, UserScore
from impsamp_fast.batch.break_even import BreakEven
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.diversity import FeatureRule
from impsamp_fast.batch.draw_rules import DrawRule
from impsamp_fast.batch.filters import Filter
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.report import Report
from impsamp_fast.batch.scoring_pass import ScoringPass
from impsamp_fast.batch.start import Always, StartRule
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset.pick_counts import PickCounts

SmallBatch = Literal["raise", "skip", "all"]


@final
class Selector(ScoresRows, BatchStrategy):
    """Selects from each large batch of K rows the n rows to train on.

    ::

        selector = Selector(model, n=128)
        for x, y in loader:                       # K = 1024 rows
            batch = selector(x, y)
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            loss = batch.mean(losses)

    While the start rule says so, a step is drawn by importance: the model scores the large batch in
    a forward pass without gradients, and :func:`~impsamp_fast.select` draws the rows. Otherwise n
    rows are drawn uniformly without replacement, with weight 1, and nothing is scored (except for
    a rule that learns from scores, see :class:`~impsamp_fast.VarianceReduction`).

    ``batch.mean(losses)`` estimates the sum of the losses of the large batch divided by K. With
    ``class_weight`` or ignored rows this is not the mean that ``F.cross_entropy`` takes by itself,
    see :meth:`MiniBatch.mean`.

    Scoring leaves no trace in the model. It runs in evaluation mode, in which batch norm uses its
    running statistics and does not update them, and the mode of each module is set back even when
    the forward pass raises; so are torch's random states, on the CPU and on the devices of the
    batch and the model: training draws the same dropout masks as without scoring. The first call
    passes n rows through the model even where it draws uniformly, so that a model that cannot be
    scored is found out at once.

    A model in ``DistributedDataParallel`` is scored by what that wraps, without a word to the other
    ranks, so that a start rule may begin on one of them alone. A model whose own forward pass
    communicates, such as a sharded one, must be scored by all ranks in the same steps:
    ``start=After(steps)`` does, and a rule that learns from each rank's losses in
    :class:`~impsamp_fast.Together`.

    Under ``torch.compile`` pass the selector to the step as an argument: the compiler takes the
    integers of a global for constants. A model that draws random numbers in evaluation mode is then
    not set back, and "last_layer" breaks the graph.

    With a filter, the large batch is first made smaller: to the rows that pass, and where these are
    fewer than n, random others up to n. The rows that are left then count as the large batch: they
    are what rows are drawn from and what ``batch.mean`` estimates the mean of. On an accelerator
    the host waits for their number.

    The rows drawn depend on the seed, the rank, the step and the scores only: step t is drawn with
    the seed (seed + t * 0x9E3779B97F4A7C15) mod 2^64, where t counts the calls that returned a
    batch. Each rank of a process group has a seed of its own, which is made of the run's: the state
    is that of any rank.

    With ``batches_per_pool`` m, each large batch gives m mini-batches, and is scored once for all
    of them. ``batches`` yields them one by one; a loop of your own takes the others by ``pop``::

        for x, y in loader:
            batch = selector(x, y)
            while batch is not None:
                ...                               # a training step
                batch = selector.pop()

    With replacement they are drawn independently of each other, otherwise m n rows at once, which
    are shared out at random, so that no row comes twice. All weights are as right as that of the
    first: scores that are some steps old cost variance, and are no bias. They pay where scoring
    takes long.

    With a ``group``, the large batch is that of all ranks of a process group: their rows in the
    order of the ranks, however many each has, of which n are drawn as one process would draw them.
    Each rank gets those that are its own, and ``batch.mean`` of them such that the average over the
    ranks, which ``DistributedDataParallel`` takes of the gradients, is the mean of all n. A rank
    that has none of them gets one row with weight 0. With ``exchange`` the rows are sent to where
    they are trained on: n / ranks of them on each rank, one share of the draw after the other. Rule
    and ranks decide as in :class:`~impsamp_fast.Together`. What is wrong on one rank is raised on
    all. All ranks have the same n, and call in the same steps; the seed is rank 0's. Methods only,
    no draw rules, filters and scores that learn; one mini-batch from each large batch; faults
    raise; counts need ``index``, and each rank counts its own picks. With ``exchange`` the rows
    have the same structure, dtypes and shapes on all ranks.

    Args:
        model: called as ``model(x)`` for a tensor, ``model(*x)`` for a tuple or list and
            ``model(**x)`` for a dict. It must return logits [K, C], or an object, a dict or a tuple
            that has them, see :class:`~impsamp_fast.ScoringPass`.
        n: rows per mini-batch, at least 1.
        score: what rows are drawn by, see :func:`~impsamp_fast.score`; or a function of the logits
            [K, C] and ``y`` that returns the scores [K], floating point and finite. Negative ones
            are for method "topk" only, not with a ``group``, and have no tau. A function with
            further parameters named ``x`` or ``index`` gets these of the rows as well; one that
            learns from the steps is a
            :class:`~impsamp_fast.LearnedScore`. "last_layer" needs a model that
            returns the output of ``layer``, with input h, and a bias in this layer: the factor
            sqrt(1 + |h|^2) has its 1 from there.
        method: how rows are drawn, see :func:`~impsamp_fast.draw`; without replacement, where fewer
            than n rows have a score, all of these and uniform others that have a target. Or a rule
            such as :class:`~impsamp_fast.LossSplit`, which may return another number of rows than
            n.
        correction: the weights of the rows, see :func:`~impsamp_fast.select`. They follow the
            ``kind`` of a draw rule, and are always 1 where it is deterministic.
        smoothing: the share of uniform sampling in the scores, in [0, 1].
        filter: which rows may be drawn by importance, such as
            :class:`~impsamp_fast.AccuracyFilter`; None leaves all.
        layer: for "last_layer" and the method ``Diversity()``: the last layer, or its qualified
            name in the model. None is the ``nn.Linear`` that was registered last.
        start: from when to draw by importance; None is :class:`~impsamp_fast.Always`.
        scoring: how the model is called to score, a :class:`~impsamp_fast.ScoringPass`; None is one
            with its defaults.
        batches_per_pool: mini-batches from each large batch, at least 1.
        whole_uniform: True makes of a large batch from which rows are drawn uniformly all K // n
            mini-batches that it has rows for, as plain training would, instead of leaving out the
            other rows. They are taken like those of ``batches_per_pool``.
        dropout: True scores in the mode that the model is in, so that dropout is on while scoring
            if it is on in training; only batch norm and instance norm are switched to evaluation.
            Modules that keep other statistics while training (spectral norm) then update them.
        small_batch: what to do with a large batch of fewer than n rows, such as the last one of an
            epoch. "raise" raises an error; "skip" leaves it out: the call returns None and counts
            no step, and ``batches`` goes on; "all" trains on all of its rows, unscored, with
            weight 1.
        on_fault: what to do with a row that cannot be scored, since it has a logit that is NaN or
            +inf, or -inf in every class, a target that is no class, or a feature or a score that is
            not finite. "raise" raises an error: at once on the CPU; on an accelerator up to 32
            steps later, where the step in between has trained with weight 0. "skip" gives the row
            no chance, as if its target were ignored, and counts it in ``faulty_rows``. Where all
            rows with a target are faulty, as when half precision overflows, these are drawn
            uniformly: their loss is not finite, and a ``GradScaler`` skips the step. Rows that are
            not scored are not looked at.
        counts: counts the picks of each sample of the data set. Calls then need ``index``, unless
            the large batch is the whole data set.
        label_smoothing: as in the loss that is trained, see :func:`~impsamp_fast.row_stats`.
        class_weight: likewise, [C].
        ignore_index: likewise; rows with this class index are not drawn by importance. None
            ignores no row.
        seed: of the draws, an integer in [-2^63, 2^64). None takes one from torch's default
            generator now, so that ``torch.manual_seed`` decides.
        rank: which of the processes that draw from different rows this is, from 0; None is the rank
            in torch's default process group. Ranks that must draw the same rows, such as those of a
            tensor-parallel model, have the same.
        group: draws each mini-batch from the rows of all ranks of this process group, see above;
            ``torch.distributed.group.WORLD`` is all of them. None draws from this rank's own.
        exchange: with a group, whether the drawn rows are shared out equally.
        target: the key of the targets in dict batches, as in ``selector(inputs)``; or
            :class:`~impsamp_fast.Columns`, which say of other keys what they are. None is for
            calls with ``x`` and ``y``.
        observe: a function that is told of each step, an :class:`~impsamp_fast.Observation`, before
            the call returns; of several mini-batches of one large batch once.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        model: nn.Module,
        n: int,
        *,
        score: str | ScoreFunction = "grad_norm",
        method: str | DrawRule = "multinomial",
        correction: str | float = "unbiased",
        smoothing: float = 0.0,
        filter: Filter | None = None,
        layer: str | nn.Module | None = None,
        start: StartRule | None = None,
        scoring: ScoringPass | None = None,
        batches_per_pool: int = 1,
        whole_uniform: bool = False,
        dropout: bool = False,
        small_batch: SmallBatch = "raise",
        on_fault: OnFault = "raise",
        counts: PickCounts | None = None,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
        seed: int | None = None,
        rank: int | None = None,
        group: Any = None,
        exchange: bool = False,
        target: str | Columns | None = None,
        observe: Observe | None = None,
    ) -> None:
        n = check_parts(model, n, start, rank)
        check_draw_parts(method, filter, layer, score)
        check_choice("small_batch", small_batch, get_args(SmallBatch))
        check_choice("on_fault", on_fault, get_args(OnFault))
        self._score = (
            score if isinstance(score, str) else UserScore(score, negative=method == "topk")
        )
        self._loss = TrainedLoss(label_smoothing, class_weight, ignore_index)
        self._seed = seed_of_run(seed)
        self.model = model
        self.n = n
        self.score = score
        self.method = method
        if not isinstance(correction, str):
            correction = to_number("correction", correction, "a str or a number")
        self.correction = correction
        self.smoothing = to_number("smoothing", smoothing)
        self.filter = filter
        self.layer = layer
        self.start = start
        self.scoring = scoring
        self.batches_per_pool = check_integer("batches_per_pool", batches_per_pool, 1)
        self.whole_uniform = whole_uniform
        self.dropout = dropout
        self.small_batch = small_batch
        self.on_fault = on_fault
        self.counts = counts
        self.seed = seed
        self.rank = rank
        self.group = group
        self.exchange = exchange
        self.target = target
        self._columns = Columns.of(target)
        if observe is not None and not callable(observe):
            raise TypeError(f"observe is {observe!r}, expected a function or None")
        self.observe = observe
        if exchange and group is None:
            raise ValueError("exchange is True, but only the ranks of a group exchange rows")
        self._rule = Always() if start is None else start
        self._step = 0
        self._watch = StatusWatch()
        self._skipped = Tally()
        self._pool = Pool()
        self._log = StepLog(self.smoothing, observe)
        learned = self._learned
        if learned is not None:
            learned.attach(self._loss, on_fault, self._log.mark)
        by_class = isinstance(score, str) or filter is not None or learned is not None
        by_class |= isinstance(method, FeatureRule)
        self._first_call = FirstCall(self._loss if by_class else None, self._rule)
        self._scorer = self._scorer_of(scoring)
        self._drawer().check()
        self._of_ranks = None
        if group is not None:
            self._of_ranks = ranks_that_draw(self, group)
            self._rule = rule_together(self._rule, self._of_ranks)
        if isinstance(start, BreakEven) and not self._is_weighted:
            raise ValueError(
                "start is BreakEven, which compares what unbiased mini-batches are worth, but rows "
                f'have no weights with correction "{correction}" and method "{method}": tau does '
                "not say what they are worth, so use After(steps) or LossRatio(threshold)"
            )

    @property
    def raw_size(self) -> None:
        """None: the large batch may have any size from n."""
        return None

    @property
    def waiting(self) -> int:
        """How many mini-batches of the last large batch have not been taken out."""
        return len(self._pool)

    @property
    def faulty_rows(self) -> int:
        """How many faulty rows were skipped so far; an accelerator is waited for."""
        return self._skipped.read()

    def __call__(self, x: Any, y: Any = None, index: Tensor | None = None) -> MiniBatch | Any:
        """Selects the mini-batch of this step.

        Args:
            x: the large batch: a tensor [K, ...], or a tuple, list, named tuple or mapping of such,
                nested as you like. A mapping of any kind comes back as a dict. With ``target`` a
                mapping that has the targets in it. A part may also be a list, tuple or array of K
                other things, such as strings: on an accelerator the host then waits to know which
                of them were drawn.
            y: [K] class indices, or [K, C] class probabilities; not with ``target``. For a score
                function, what it takes: also a tuple, list or mapping of tensors [K, ...], nested.
            index: [K], int64 or int32: the samples' numbers in the data set.

        Returns:
            The mini-batch: rows of ``x``, ``y`` and ``index``, with their weights. None for a small
            batch that is skipped.

        Raises:
            TypeError: for another structure, or if the model does not return a tensor.
            KeyError: if ``target`` names a key that the batch does not have.
            ValueError: if the first dimensions differ, K < n and small batches raise, or the logits
                are not [K, C]. Also what ``select`` and the model raise. No step is counted then.
            IndexError: if ``counts`` is given and an ``index`` is not in the data set.
            RuntimeError: if mini-batches of the last large batch wait.
        """
        if self._of_ranks is not None:
            return step_of_ranks(self, self._of_ranks, x, y, index)
        if self._columns is not None or not isinstance(y, Tensor):
            x, y, index = self._roles(x, y, index)
        importance = self._begin(x, y, index, timed=not is_compiling())
        return None if importance is None else self._take(x, y, index, importance)

    def _take(
        self,
        x: Any,
        y: Tensor,
        index: Tensor | None,
        importance: bool,
        scored: Scored | None = None,
    ) -> MiniBatch | None:
        """The first mini-batch of a large batch, which may have been scored."""
        K = y.shape[0]
        x, y, drawn = self._draw(x, y, index, importance, self._seeds(y.device), scored)
        self._log.note(self._step, importance, K, drawn, y)
        self._watch.add(self._step, drawn.found.status, drawn.found.explain)
        if drawn.sizes is None:
            return self._made(x, y, drawn.weight, self._end(drawn, index), importance)
        self._learn(drawn)
        rows = Rows(x, y, drawn.weight, _numbers(drawn, index))
        self._pool.fill(rows, drawn.sizes, importance)
        return self._next()

    def pop(self) -> MiniBatch | None:
        """The next mini-batch of the last large batch; None if there is none."""
        waits = self._pool and not self._pool.importance
        if waits and not is_compiling():  # a step like any other
            self._log.begin_uniform(self._pool.device, self._rule)
        return self._next()

    def pause(self) -> None:
        """Does not time the step under way, since what follows is no training.

        Called before an evaluation it keeps ``report`` and :class:`~impsamp_fast.BreakEven` from
        taking that for a part of a step. Where it is rare, their medians do not mind.
        """
        self._log.stop()

    def _next(self) -> MiniBatch | None:
        if not self._pool:
            return None
        rows = self._pool.next()
        self._count(rows.numbers)
        return self._made(*rows, self._pool.importance)

    def scores(self, x: Any, y: Any = None, index: Tensor | None = None) -> Tensor:
        """The scores [K] of a large batch that a step by importance would draw by.

        They are without ``smoothing``, of the dtype that :func:`~impsamp_fast.score` gives, and no
        step is counted. A call before training also compiles what is to be compiled.

        Args:
            x: the rows, as in a call.
            y: their targets.
            index: their samples' numbers, for a score function that takes them.

        Raises:
            TypeError, ValueError: what a call raises for such a batch.
        """
        self._log.stop()
        x, y, index = self._roles(x, y, index)
        check_batch(x, y, index)
        self._first_call.check_target(y)
        self._check_index(index)
        return self._scores_by(self._scorer, x, y, index)

    def tune(
        self,
        x: Any,
        y: Any = None,
        index: Tensor | None = None,
        *,
        tolerance: float = 0.02,
        seconds: float = 60.0,
    ) -> ScoringPass:
        """Takes the fastest scoring pass for such batches on this machine, and prints all it tried.

        It tries sizes of a chunk, memory formats, compilation and half precision, one after the
        other from the present setting, which is the reference that scores are compared with. No
        step is counted. A run that is to be reproduced should name the setting that is returned.

        Args:
            x: a large batch, as in a call.
            y: its targets.
            index: its samples' numbers, for a score function that takes them.
            tolerance: the largest change of a score that is accepted, in units of the mean score.
            seconds: after so many no other setting is tried; compiling takes most of it.

        Raises:
            TypeError, ValueError: what a call raises for such a batch.
        """
        self._log.stop()
        x, y, index = self._roles(x, y, index)
        K = self._check_batch(x, y, index)
        self._check_size(K)
        tuning = Tuning(
            lambda scoring: partial(self._scores_by, self._scorer_of(scoring), x, y, index),
            y.device,
            to_number("tolerance", tolerance),
            to_number("seconds", seconds),
        )
        first = ScoringPass() if self.scoring is None else self.scoring
        self.scoring = tuning.best_of(first, axes_of(self._of_model(x), K, self.n, y.device))
        self._scorer = self._scorer_of(self.scoring)
        print(f"{tuning.table(K)}\ntaken: {self.scoring}")
        return self.scoring

    def report(self) -> Report:
        """What the last steps took, and whether importance sampling pays; waits for the device."""
        return self._log.report(
            self.n,
            self.batches_per_pool,
            weighted=self._is_weighted,
            compiled=self.scoring is not None and bool(self.scoring.compile),
            compile_seconds=self._scorer.compile_seconds,
        )

    def metrics(self, wait: bool = False) -> dict[str, float]:
        """What the last step came to, as floats for a logger.

        Nothing is computed for them before this is called. An accelerator is not waited for: the
        numbers are those of a step that it has finished, mostly the one at the last call of this,
        and there are none before the first has come.

        Args:
            wait: whether to wait for the last step on an accelerator too.

        Returns:
            ``step``, the number of that step; ``importance``, 1 or 0; ``importance_share`` of the
            last steps that were timed; ``uniform_share``, see :class:`~impsamp_fast.Observation`;
            ``tau`` and ``effective_size``; ``distinct``, the share of the drawn rows that are
            different ones; ``weight/max``; mean, max and the quantiles q05, q50 and q95 of
            ``score`` and ``loss``, as in ``score/q50``; ``classes``, how many equally frequent
            classes would be as mixed as those of the drawn rows, the exponential of their entropy,
            with the share of each, ``class/0``, where they are not many; and ``seconds/`` with the
            parts of a :class:`~impsamp_fast.StepTime`. What is not known is left out.
        """
        return self._log.metrics(wait)

    def batches(self, loader: Iterable[Any], *, overlap: bool = False) -> Iterator[MiniBatch]:
        """The mini-batch of each large batch of a loader, ``(x, y)`` or ``(x, y, index)`` each.

        With ``target`` they are dicts. A small batch that is skipped has none.

        Args:
            loader: the large batches.
            overlap: True takes each large batch from the loader one training step earlier, and
                scores it on CUDA beside that step, on a stream of its own, with the weights as they
                are before it. Scores that are a step old cost variance, and are no bias. The
                weights must be changed by a ``torch.optim.Optimizer``. On other devices the same
                rows are drawn, and no time is saved. After ``load_state_dict`` the loader must give
                the large batch that was taken early again; it is scored with the weights of then.

        Raises:
            ValueError: for ``overlap`` with a ``group`` or ``BreakEven``.
        """
        if overlap:
            yield from self._overlapped(loader)
            return
        for item in loader:
            batch = self(*unpack(item))
            while batch is not None:
                yield batch
                batch = self.pop()

    def _overlapped(self, loader: Iterable[Any]) -> Iterator[MiniBatch]:
        """Each large batch is scored before the last mini-batch of the one before is trained on."""
        if self._of_ranks is not None:
            raise ValueError("overlap is True, but the ranks of a group score together")
        if self._rule.learns_times:
            raise ValueError(f"overlap is True, but {self._rule!r} goes by what scoring takes")
        items = iter(loader)
        last: MiniBatch | None = None
        with Overlap() as overlap:
            while True:
                error: Exception | None = None
                ahead: _Ahead | None = None
                try:
                    ahead = self._look_ahead(items, overlap)
                except Exception as raised:  # what has been drawn is trained on first
                    error = raised
                if last is not None:
                    yield last
                if error is not None:
                    raise error
                if ahead is None:
                    return
                if ahead.scored is not None:
                    overlap.take((ahead.scored.logits, ahead.scored.features))
                self._log.begin(ahead.y.device, self._rule)
                last = self._take(*ahead)
                while self._pool:
                    assert last is not None
                    yield last
                    last = self.pop()

    def _look_ahead(self, items: Iterator[Any], overlap: Overlap) -> "_Ahead | None":
        """The next large batch that is not skipped, and its scores to come; None at the end."""
        for item in items:
            x, y, index = self._roles(*unpack(item))
            importance = self._decided(x, y, self._checked(x, y, index))
            if importance is None:
                continue
            scored = None
            if importance:
                score = partial(self._scored, x, y, index, aside=True)
                other = None if self.scoring is None else self.scoring.model
                scored = overlap.run([self.model, other], (x, y), y.device, score)
            return _Ahead(x, y, index, importance, scored)
        return None

    def state_dict(self) -> dict[str, Any]:
        """``seed``, ``step``, ``faulty_rows``, ``pool`` and the states of ``start`` and ``counts``.

        The pool is the mini-batches that wait. With a score that learns also its state, ``score``.
        The model's state is not in it.
        """
        learned = self._learned
        return ({} if learned is None else {"score": learned.state_dict()}) | {
            "seed": self._seed,
            "step": self._step,
            "faulty_rows": self._skipped.read(),
            "pool": self._pool.state(),
            "start": self._rule.state_dict(),
            "counts": None if self.counts is None else self.counts.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned: the next step picks the same rows.

        Raises:
            KeyError: if the state is not a selector's, or that of another start rule.
            TypeError: if its seed or step is not an int, or its counts are not integers.
            ValueError: if its step is negative, if it has counts and this selector has none, or the
                reverse, or they are of a data set of another size.

        After an error the selector is as it was.
        """
        learned = self._learned
        keys = ["seed", "step", "faulty_rows", "pool", "start", "counts"]
        keys += [] if learned is None else ["score"]
        if set(state) != set(keys):
            raise KeyError(
                f"the state has the keys {sorted(state)}, expected {', '.join(keys[:-1])} and "
                f"{keys[-1]}"
            )
        check_seed_and_step(state, "faulty_rows")
        pool = Pool.of(state["pool"], device_of(self.model, torch.device("cpu")))
        before = None if learned is None else learned.state_dict()
        if learned is not None:
            learned.load_state_dict(state["score"])
        try:
            load_rule_and_counts("selector", self._rule, self.counts, state)
        except Exception:
            if learned is not None and before is not None:
                learned.load_state_dict(before)
            raise
        self._seed = state["seed"]
        self._step = state["step"]
        self._skipped.set(state["faulty_rows"])
        self._pool = pool
        self._watch = StatusWatch()

    def _begin(self, x: Any, y: Tensor, index: Tensor | None, timed: bool = False) -> bool | None:
        """Checks the large batch; whether this step is by importance, None if it is left out."""
        K = self._checked(x, y, index)
        if timed:
            self._log.begin(y.device, self._rule)
        else:
            self._log.stop()
        return self._decided(x, y, K)

    def _checked(self, x: Any, y: Tensor, index: Tensor | None) -> int:
        """The number of rows K of a large batch that can be taken."""
        K = self._check_batch(x, y, index)
        self._check_size(K)
        return K

    def _decided(self, x: Any, y: Tensor, K: int) -> bool | None:
        """Whether the step is by importance, None if it is left out."""
        self._look_at_last_steps()
        importance = self._decide(K)
        if importance is not None:
            self._try_model(importance, x, y, K)
        return importance

    def _look_at_last_steps(self) -> None:
        """Raises what went wrong in them."""
        self._watch.look()
        if self.counts is not None:
            self.counts.look()

    def _decide(self, K: int) -> bool | None:
        """Whether the step of such a large batch is by importance, None if it is left out."""
        if self._wanted > K and self.small_batch == "skip":
            return None
        scored = K // self.batches_per_pool  # rows for each mini-batch
        # Also where there are too few rows: the ranks of a process group may decide together.
        return self._rule.decide(self._step, scored, self.n) and self._wanted <= K

    def _try_model(self, importance: bool, x: Any, y: Tensor, K: int) -> None:
        """Finds out in the first step whether the model can be scored."""
        if importance or self._rule.learns_from == "tau":
            self._first_call.note_scoring()
        elif K > 0:
            self._first_call.try_model(lambda x, y: self._forward(x, y, K).logits, x, y, self.n)

    def _check_batch(self, x: Any, y: Tensor, index: Tensor | None) -> int:
        """The number of rows K, once all agree on it."""
        if self._pool:
            raise RuntimeError(
                f"{self.waiting} mini-batches of the last large batch wait: take them out with "
                "pop() until it returns None, or use batches(loader)"
            )
        K = check_batch(x, y, index)
        self._first_call.check_target(y)
        if index is None and self.counts is not None and self.counts.size != K:
            raise ValueError(
                f"index is missing: counts is about {self.counts.size} samples, the large batch "
                f"has {K} rows; call selector(x, y, index) with their numbers in the data set"
            )
        self._check_index(index)
        # Found out when a mini-batch is counted, the rows of a pool would be lost, and other ranks
        # have trained on theirs.
        early = self._makes_pools or self._of_ranks is not None
        counted = self.counts if early else None
        if counted is not None and index is not None and index.is_cpu:
            check_range(index, counted.size)
        return K

    def _check_size(self, K: int) -> None:
        """Checks whether a large batch has enough rows."""
        if K == 0 and self.small_batch == "all":
            raise ValueError("the large batch has no rows, expected at least 1")
        if self._wanted > K and self.small_batch == "raise":
            m = self.batches_per_pool
            wanted = f"n is {self.n}" + (f" and batches_per_pool {m}" if m > 1 else "")
            raise ValueError(
                f"{wanted}, but the large batch has only {K} rows: give larger batches "
                "(drop_last=True makes a DataLoader leave out a small last one), or make the "
                'selector with small_batch="skip" or small_batch="all"'
            )

    @property
    def _makes_pools(self) -> bool:
        """Whether a large batch may give several mini-batches."""
        return self.batches_per_pool > 1 or self.whole_uniform

    @property
    def _wanted(self) -> int:
        """Rows of all mini-batches of a large batch."""
        return int(self.n) * self.batches_per_pool

    def _seeds(self, device: torch.device) -> list[int | Tensor]:
        """Those of this step and of the others that share its large batch."""
        steps = [self._step + i for i in range(self.batches_per_pool)]
        seed = self._seed_here
        if is_compiling():
            return [seed_of_traced_step(seed, step, device) for step in steps]
        return [seed_of_step(seed, step) for step in steps]

    @property
    def _seed_here(self) -> int:
        """The run's seed on this rank."""
        return seed_of_rank(self._seed, rank_here() if self.rank is None else self.rank)

    def _draw(
        self,
        x: Any,
        y: Tensor,
        index: Tensor | None,
        importance: bool,
        seeds: Sequence[int | Tensor],
        scored: Scored | None = None,
    ) -> tuple[Any, Tensor, Drawn]:
        """The rows of a step, x and y and how they were drawn: what a CUDA graph captures."""
        K = y.shape[0]
        if importance:
            scored = self._scored(x, y, index) if scored is None else scored
            if len(seeds) == 1:
                drawn = self._drawer().draw(scored, self.n, seeds[0])
            else:
                drawn = draw_pool(self._drawer(), scored, self.n, seeds)
            if self._learned is not None:
                drawn = drawn._replace(learn=self._learning_from(scored))
        else:
            row = uniform_rows(K, self._uniform_rows_of(K), seeds[0], y.device)
            weight = torch.ones(row.numel(), dtype=torch.float32, device=y.device)
            drawn = Drawn(row, weight, sizes=self._sizes(row.numel()))
        self._log.mark("selection")
        x, y = gather(x, drawn.row), y.index_select(0, drawn.row)
        self._log.mark("gather")
        may_learn = not importance and self._wanted <= K and self._rule.learns_from == "tau"
        # Where an accelerator's rows are all ignored tau is NaN, which no rule learns.
        if may_learn and self._rule.wants_tau(self.n) and not self._loss.ignores_all(y):
            drawn = self._with_tau(drawn, x, y, index, seeds[0])
        return x, y, drawn

    def _uniform_rows_of(self, K: int) -> int:
        """How many of K rows are drawn uniformly."""
        n = int(self.n)
        return max(min(self._wanted, K), K // n * n if self.whole_uniform else 0)

    def _sizes(self, rows: int) -> list[int] | None:
        """The mini-batches that so many rows drawn uniformly are."""
        if not self._makes_pools:
            return None
        return [min(self.n, rows - begin) for begin in range(0, rows, self.n)]

    def _with_tau(
        self, drawn: Drawn, x: Any, y: Tensor, index: Tensor | None, seed: int | Tensor
    ) -> Drawn:
        """Rows that were drawn uniformly, with what the scores of n of them say."""
        (x, y), row = narrow((x, y), 0, self.n), drawn.row[: self.n]
        index = None if index is None else index.index_select(0, row)
        rows = self._scored(x, y, index)
        scored = self._drawer().draw(rows, 1, seed)
        self._log.mark("selection")
        return _with_tau_of(scored, drawn)._replace(learn=self._learning_from(rows))

    def _end(self, drawn: Drawn, index: Tensor | None) -> Tensor:
        """Counts the step; the numbers of its samples."""
        numbers = _numbers(drawn, index)
        self._count(numbers)
        self._learn(drawn)
        return numbers

    def _count(self, numbers: Tensor) -> None:
        if self.counts is not None:
            self.counts.update(numbers)
        self._step += 1

    def _learn(self, drawn: Drawn) -> None:
        """Takes in what a large batch has shown."""
        if self._rule.learns_from == "tau" and drawn.tau is not None:
            self._rule.learn(drawn.tau)
        if drawn.found.skipped is not None:
            self._skipped.add(drawn.found.skipped)
        if drawn.learn is not None:
            drawn.learn()
            self._log.mark("selection")

    def _made(
        self,
        x: Any,
        y: Tensor,
        weight: Tensor,
        numbers: Tensor,
        importance: bool,
        rows: float | None = None,
    ) -> MiniBatch:
        listener = self._rule if self._rule.learns_from == "loss" else None
        if not isinstance(y, Tensor):
            y = as_given(y)
        if self._columns is None:
            return MiniBatch(x, y, weight, numbers, importance, listener, rows)
        inputs, x = x, self._columns.of_model(x)
        return MiniBatch(x, y, weight, numbers, importance, listener, rows, _inputs=inputs)


class _Ahead(NamedTuple):
    """A large batch that is drawn from when the step before has been trained."""

    x: Any
    y: Tensor
    index: Tensor | None  # type: ignore[assignment]  # tuple.index gives way to the field
    importance: bool
    scored: Scored | None


def _numbers(drawn: Drawn, index: Tensor | None) -> Tensor:
    """The samples' numbers of drawn rows."""
    return drawn.row if index is None else index.index_select(0, drawn.row)


def _with_tau_of(scored: Drawn, drawn: Drawn) -> Drawn:
    """Rows that were drawn uniformly, and then scored."""
    found = scored.found
    drawn = drawn._replace(tau=scored.tau, score=scored.score, loss=scored.loss)
    if found.status is None:
        return drawn._replace(found=found)
    status = found.status.clamp(min=0)  # that all of them are ignored is no fault
    weight = drawn.weight.masked_fill(status != 0, 0)
    return drawn._replace(weight=weight, found=found._replace(status=status))
