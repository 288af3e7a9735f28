"""From a large batch to the mini-batch to train on, for any model that gives logits."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from impsamp_fast._seeds import second_seed, seed_of_run, seed_of_step
from impsamp_fast._uniform import fill, uniform_rows
from impsamp_fast._watch import StatusWatch
from impsamp_fast.batch import draw_rules as rules
from impsamp_fast.batch._nested import gather
from impsamp_fast.batch.draw_rules import DrawRule
from impsamp_fast.batch.filters import Filter, rows_that_pass
from impsamp_fast.batch.minibatch import (
    BatchStrategy,
    MiniBatch,
    check_batch,
    check_parts,
    check_seed_and_step,
    load_rule_and_counts,
    unpack,
)
from impsamp_fast.batch.scoring import (
    LastLayer,
    ScoreFunction,
    check_logits,
    check_scores,
    forward_without_trace,
)
from impsamp_fast.batch.start import Always, StartRule
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import row_stats, select
from impsamp_fast.ops import score as score_of
from impsamp_fast.ops._status import status_error

# Bytes of a step's rows that are kept to explain why nothing could be drawn from them.
_MOST_KEPT = 1 << 20


class Picked(NamedTuple):
    """Drawn rows: ``row`` [n], ``weight`` [n], and ``tau`` [] where rows were scored.

    On an accelerator ``status`` [] is 0 if they could be drawn, and ``explain`` makes the error for
    another one.
    """

    row: Tensor
    weight: Tensor
    tau: Tensor | None = None
    status: Tensor | None = None
    explain: Callable[[int], Exception] | None = None


class Chosen(NamedTuple):
    """The rows of a mini-batch, and how they were drawn."""

    x: Any
    y: Tensor
    picked: Picked


@final
class Selector(BatchStrategy):
    """Picks from each large batch of K rows the n rows to train on.

    ::

        selector = Selector(model, n=128)
        for x, y in loader:                       # K = 1024 rows
            batch = selector(x, y)
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            loss = batch.mean(losses)

    While the start rule says so, a step is drawn by importance: the model scores the large batch in
    a forward pass without gradients, and :func:`~impsamp_fast.select` picks the rows. Otherwise n
    rows are drawn uniformly without replacement, with weight 1, and nothing is scored (except for
    a rule that learns from scores, see :class:`~impsamp_fast.VarianceReduction`).

    ``batch.mean(losses)`` estimates the sum of the losses of the large batch divided by K. With
    ``class_weight`` or ignored rows this is not the mean that ``F.cross_entropy`` takes by itself,
    see :meth:`MiniBatch.mean`.

    Scoring leaves no trace in the model. It runs in evaluation mode, in which batch norm uses its
    running statistics and does not update them, and the mode of each module is set back even when
    the forward pass raises; so is torch's random state, on the CPU and on the CUDA device of the
    batch: training draws the same dropout masks as without scoring.

    With a filter, the large batch is first made smaller: to the rows that pass, and where these are
    fewer than n, random others up to n. The rows that are left then count as the large batch: they
    are what rows are drawn from and what ``batch.mean`` estimates the mean of. On an accelerator
    the host waits for their number.

    The rows drawn depend on the seed, the step and the scores only: step t is drawn with the seed
    (seed + t * 0x9E3779B97F4A7C15) mod 2^64, where t counts the calls that returned a batch.

    Args:
        model: called as ``model(x)`` for a tensor, ``model(*x)`` for a tuple or list and
            ``model(**x)`` for a dict. It must return logits [K, C].
        n: rows per mini-batch, at least 1.
        score: what makes a row worth training on, see :func:`~impsamp_fast.score`; or a function
            that gets the logits [K, C] and ``y`` and returns the scores [K], floating point,
            finite and not negative. "last_layer" needs a model that returns the output of
            ``layer``, with input h, and a bias in this layer: the factor sqrt(1 + |h|^2) has its 1
            from there.
        method: how rows are drawn, see :func:`~impsamp_fast.draw`, or a rule such as
            :class:`~impsamp_fast.LossSplit`, which may return another number of rows than n.
        correction: the weights of the rows, see :func:`~impsamp_fast.select`. They follow the
            ``kind`` of a draw rule, and are always 1 where it is deterministic.
        smoothing: the share of uniform sampling in the scores, in [0, 1].
        filter: which rows may be drawn by importance, such as
            :class:`~impsamp_fast.AccuracyFilter`; None leaves all.
        layer: for "last_layer": the last layer, or its qualified name in the model. None is the
            ``nn.Linear`` that was registered last.
        start: from when to draw by importance; None is :class:`~impsamp_fast.Always`.
        dropout: True scores in the mode that the model is in, so that dropout is on while scoring
            if it is on in training; only batch norm and instance norm are switched to evaluation.
            Modules that keep other statistics while training (spectral norm) then update them.
        counts: counts the picks of each sample of the data set. Calls then need ``index``, unless
            the large batch is the whole data set.
        label_smoothing: as in the loss that is trained, see :func:`~impsamp_fast.row_stats`.
        class_weight: likewise, [C].
        ignore_index: likewise; rows with this class index are not drawn by importance.
        seed: of the draws, an integer in [-2^63, 2^64). None takes one from torch's default
            generator now, so that ``torch.manual_seed`` decides.

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
        dropout: bool = False,
        counts: PickCounts | None = None,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int = -100,
        seed: int | None = None,
    ) -> None:
        n = check_parts(model, n, start, class_weight)
        if not isinstance(score, str) and (isinstance(score, type) or not callable(score)):
            raise TypeError(f"score is {score!r}, expected a str or a function")
        if not isinstance(method, str | DrawRule):
            raise TypeError(f"method is {method!r}, expected a str or a rule such as LossSplit()")
        if filter is not None and not isinstance(filter, Filter):
            raise TypeError(
                f"filter is {filter!r}, expected a filter such as AccuracyFilter() or None"
            )
        if layer is not None and not isinstance(layer, str | nn.Module):
            raise TypeError(f"layer is {layer!r}, expected a str, an nn.Module or None")
        if layer is not None and score != "last_layer":
            raise ValueError(f'layer is {layer!r}, but only score "last_layer" looks at a layer')
        self._seed = seed_of_run(seed)
        self.model = model
        self.n = n
        self.score = score
        self.method = method
        self.correction = correction
        self.smoothing = smoothing
        self.filter = filter
        self.layer = layer
        self.start = start
        self.dropout = dropout
        self.counts = counts
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.ignore_index = ignore_index
        self.seed = seed
        self._rule = Always() if start is None else start
        self._step = 0
        self._watch = StatusWatch()
        self._weight_there = class_weight  # on the device of the last batch
        self._check_options()

    @property
    def raw_size(self) -> None:
        """None: the large batch may have any size from n."""
        return None

    def __call__(self, x: Any, y: Tensor, index: Tensor | None = None) -> MiniBatch:
        """Picks the mini-batch of this step.

        Args:
            x: the large batch: a tensor [K, ...], or a tuple, list, named tuple or mapping of such,
                nested as you like. A mapping of any kind comes back as a dict.
            y: [K] class indices, or [K, C] class probabilities.
            index: [K], int64 or int32: the samples' numbers in the data set.

        Returns:
            The mini-batch: rows of ``x``, ``y`` and ``index``, with their weights.

        Raises:
            TypeError: for another structure, or if the model does not return a tensor.
            ValueError: if the first dimensions differ, K < n, or the logits are not [K, C]. Also
                what ``select`` and the model raise. No step is counted then.
            IndexError: if ``counts`` is given and a picked ``index`` is not in the data set.
        """
        importance = self._begin(x, y, index)
        chosen = self._choose(x, y, importance, seed_of_step(self._seed, self._step))
        self._watch.add(self._step, chosen.picked.status, chosen.picked.explain)
        numbers = self._end(chosen.picked, index)
        listener = self._rule if self._rule.learns_from == "loss" else None
        return MiniBatch(chosen.x, chosen.y, chosen.picked.weight, numbers, importance, listener)

    def batches(self, loader: Iterable[Any]) -> Iterator[MiniBatch]:
        """The mini-batch of each large batch of a loader, ``(x, y)`` or ``(x, y, index)`` each."""
        for item in loader:
            yield self(*unpack(item))

    def state_dict(self) -> dict[str, Any]:
        """``seed``, ``step`` and the states of ``start`` and ``counts``; not the model's."""
        return {
            "seed": self._seed,
            "step": self._step,
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
        if set(state) != {"seed", "step", "start", "counts"}:
            raise KeyError(
                f"the state has the keys {sorted(state)}, expected seed, step, start and counts"
            )
        check_seed_and_step(state)
        load_rule_and_counts("selector", self._rule, self.counts, state)
        self._seed = state["seed"]
        self._step = state["step"]
        self._watch = StatusWatch()

    def _check_batch(self, x: Any, y: Tensor, index: Tensor | None) -> int:
        """The number of rows K, once all agree on it."""
        K = check_batch(x, y, index)
        if index is None and self.counts is not None and self.counts.size != K:
            raise ValueError(
                f"index is missing: counts is about {self.counts.size} samples, the large batch "
                f"has {K} rows; call selector(x, y, index) with their numbers in the data set"
            )
        if self.n > K:
            raise ValueError(
                f"n is {self.n}, but the large batch has only {K} rows: give larger batches "
                "(drop_last=True makes a DataLoader leave out a small last one)"
            )
        return K

    def _ignores_all(self, y: Tensor) -> bool:
        """Whether no row has a target, so that there is nothing to score."""
        # An accelerator would have to be waited for; its tau is then NaN, which no rule learns.
        on_cpu = y.device.type == "cpu"
        return on_cpu and y.dim() == 1 and bool((y == self.ignore_index).all())

    def _begin(self, x: Any, y: Tensor, index: Tensor | None) -> bool:
        """Checks the large batch; whether this step is by importance."""
        K = self._check_batch(x, y, index)
        self._watch.look()
        return self._rule.decide(self._step, K, self.n)

    def _choose(self, x: Any, y: Tensor, importance: bool, seed: int | Tensor) -> Chosen:
        """The rows of a step: what a CUDA graph captures."""
        if importance:
            picked = self._pick(x, y, self.n, seed)
        else:
            row = uniform_rows(y.shape[0], self.n, seed, y.device)
            weight = torch.ones(self.n, dtype=torch.float32, device=y.device)
            picked = Picked(row, weight)
        x, y = gather(x, picked.row), y.index_select(0, picked.row)
        if not importance and self._rule.learns_from == "tau" and not self._ignores_all(y):
            picked = picked._replace(tau=self._pick(x, y, 1, seed).tau)
        return Chosen(x, y, picked)

    def _end(self, picked: Picked, index: Tensor | None) -> Tensor:
        """Counts the step; the numbers of its samples."""
        numbers = picked.row if index is None else index.index_select(0, picked.row)
        if self.counts is not None:
            self.counts.update(numbers)
        if self._rule.learns_from == "tau" and picked.tau is not None:
            self._rule.learn(picked.tau)
        self._step += 1
        return numbers

    def _pick(self, x: Any, y: Tensor, n: int, seed: int | Tensor) -> Picked:
        """Scores the rows and draws n of them."""
        logits, features = self._forward(x, y)
        if self.filter is None:
            return self._draw(logits, y, n, features, seed)
        return self._filter_and_draw(logits, y, n, features, seed)

    def _forward(self, x: Any, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits, and the last layer's input where the score needs it."""
        tap = LastLayer(self.model, self.layer) if self.score == "last_layer" else None
        try:
            logits = forward_without_trace(self.model, x, y, self.dropout)
        finally:
            if tap is not None:
                tap.remove()
        check_logits(logits, y)
        return logits, None if tap is None else tap.input_that_gave(logits)

    def _filter_and_draw(
        self, logits: Tensor, y: Tensor, n: int, features: Tensor | None, seed: int | Tensor
    ) -> Picked:
        assert self.filter is not None and isinstance(seed, int)
        stats = row_stats(logits, y, **self._loss_options(y.device))
        passing, others = rows_that_pass(self.filter, stats, y, self._ignored(y))
        pool = fill(passing, others, n, second_seed(seed))
        if pool.numel() == 0:  # no row has a target, which drawing says
            return self._draw(logits, y, n, features, seed)
        features = None if features is None else features.index_select(0, pool)
        logits, y = logits.index_select(0, pool), y.index_select(0, pool)
        picked = self._draw(logits, y, n, features, seed)
        return picked._replace(row=pool.index_select(0, picked.row))

    def _draw(
        self, logits: Tensor, y: Tensor, n: int, features: Tensor | None, seed: int | Tensor
    ) -> Picked:
        """One call of ``select``, unless the score or the method is none of its own."""
        if isinstance(self.score, str) and isinstance(self.method, str):
            return self._select(logits, y, n, self.score, self.method, features, seed)
        ignored = self._ignored(y)
        if ignored is not None and ignored.device.type == "cpu" and ignored.all():
            raise ValueError(
                f"y is ignore_index ({self.ignore_index}) in every row, so none can be drawn"
            )
        weights = rules.smoothed(self._scores(logits, y, features), ignored, self.smoothing)
        rule = self.method if isinstance(self.method, DrawRule) else rules.Method(self.method)
        drawn = rule(weights, n, seed)
        weight = rules.corrected(drawn, weights, rule.kind, self.correction)
        tau = rules.variance_reduction(weights)
        if weight.is_cpu:  # what cannot be drawn has been raised
            return Picked(drawn.index, weight, tau)
        fine = (weights.isfinite() & (weights >= 0)).all() & ~drawn.prob.isnan().any()
        weight = torch.where(fine, weight, 0.0)
        status = (~fine).to(torch.int64)
        return Picked(drawn.index, weight, tau, status, self._explainer(logits, y, n, features))

    def _scores(self, logits: Tensor, y: Tensor, features: Tensor | None) -> Tensor:
        if isinstance(self.score, str):
            return score_of(logits, y, self.score, features, **self._loss_options(y.device))
        with torch.no_grad():
            scores = self.score(logits, y)
        check_scores(scores, y)
        return scores if scores.dtype == torch.float64 else scores.to(torch.float32)

    def _ignored(self, y: Tensor) -> Tensor | None:
        """Which rows have no target; None for class probabilities, which all have one."""
        return y == self.ignore_index if y.dim() == 1 else None

    def _loss_options(self, device: torch.device) -> dict[str, Any]:
        return {
            "label_smoothing": self.label_smoothing,
            "class_weight": self._class_weight_on(device),
            "ignore_index": self.ignore_index,
        }

    def _class_weight_on(self, device: torch.device) -> Tensor | None:
        """The class weights on a device; copying them there takes the host's time only once."""
        if self._weight_there is not None and self._weight_there.device != device:
            self._weight_there = self._weight_there.to(device)
        return self._weight_there

    def _check_options(self) -> None:
        """The operator knows what fits: an error comes now, not after a uniform phase."""
        class_weight = self.class_weight
        classes = 2 if class_weight is None else class_weight.numel()
        device = "cpu" if class_weight is None else class_weight.device
        logits = torch.zeros(1, classes, device=device)
        y = torch.tensor([int(self.ignore_index == 0)], device=device)
        score = self.score if isinstance(self.score, str) else "loss"
        method = self.method if isinstance(self.method, str) else "multinomial"
        features = logits if score == "last_layer" else None
        self._select(logits, y, 1, score, method, features, seed=0)

    def _select(
        self,
        logits: Tensor,
        y: Tensor,
        n: int,
        score: str,
        method: str,
        features: Tensor | None,
        seed: int | Tensor,
    ) -> Picked:
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
            **self._loss_options(y.device),
        )
        explain = self._explainer(logits, y, n, features)
        return Picked(selection.index, selection.weight, selection.tau, selection.status, explain)

    def _explainer(
        self, logits: Tensor, y: Tensor, n: int, features: Tensor | None
    ) -> Callable[[int], Exception] | None:
        """What makes a failed selection's error; it keeps the rows until the status is known."""
        if logits.is_cpu:
            return None
        kept = sum(part.nbytes for part in (logits, y, features) if part is not None)
        if kept > _MOST_KEPT:
            return partial(status_error, n=n, method=str(self.method))
        return partial(self._error, logits, y, n, features)

    def _error(
        self, logits: Tensor, y: Tensor, n: int, features: Tensor | None, status: int
    ) -> Exception:
        """Why rows could not be drawn on an accelerator: the CPU's error, from the CPU."""
        try:
            features = None if features is None else features.cpu()
            self._draw(logits.cpu(), y.cpu(), n, features, seed=0)
        except (ValueError, IndexError) as error:
            return error
        return status_error(status, n, str(self.method))
