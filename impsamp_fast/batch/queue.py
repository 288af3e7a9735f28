"""Mini-batches that are collected over several raw batches."""

import warnings
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, final, get_args

import torch
from torch import Tensor, nn

from impsamp_fast._checks import check_choice, check_range
from impsamp_fast._faults import OnFault
from impsamp_fast._readback import Tally
from impsamp_fast._seeds import rank_here, seed_of_rank, seed_of_run, seed_of_step
from impsamp_fast._watch import StatusWatch
from impsamp_fast.batch._arguments import check_batch, check_parts, unpack
from impsamp_fast.batch._faults import Examined, Found, examined
from impsamp_fast.batch._first_call import FirstCall
from impsamp_fast.batch._nested import as_given, as_target, gather
from impsamp_fast.batch._states import check_seed_and_step, load_rule_and_counts
from impsamp_fast.batch._step_log import StepLog
from impsamp_fast.batch._trained_loss import TrainedLoss, WithTrainedLoss
from impsamp_fast.batch._waiting_rows import Rows, WaitingRows
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.report import Report
from impsamp_fast.batch.scoring_pass import Scorer, ScoringPass
from impsamp_fast.batch.start import Always, StartRule
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import row_stats

# So many mini-batches that wait before a raw batch are a queue that grows.
_MANY_MINI_BATCHES = 16

# Raw batches of which it is told how many rows were selected.
_RECENT = 64

_STATE = {
    "seed",
    "step",
    "numbered",
    "unfilled",
    "importance",
    "faulty_rows",
    "rows",
    "start",
    "counts",
    "memory",
}


class Queue(WithTrainedLoss, BatchStrategy):
    """Collects rows that are selected from raw batches until there are n.

    A call takes a raw batch and returns a mini-batch of n rows with weight 1, or None while there
    are too few. Rows come in the order in which they were taken in, and none is lost: those above n
    wait for the next mini-batch. Where a raw batch fills several, ``pop`` returns the others, and
    ``batches`` yields them all; a warning says once when rows of many mini-batches wait because
    neither is used. Rows of raw batches without ``index`` are numbered from 0 in
    the order of the raw batches.

    Before the start rule says so, all rows are kept and nothing is scored, but for n rows in the
    first call, so that a model that cannot be scored is found out at once. Then the model scores
    each raw batch without leaving a trace, as a :class:`~impsamp_fast.Selector` does. On an
    accelerator the host waits for the number of rows that are selected.

    A queue of your own derives from this class and implements ``raw_size``, ``_select`` and the
    state of what it remembers. It scores rows with ``_examined``, which finds the faulty ones.

    Args:
        model: called as by a :class:`~impsamp_fast.Selector`.
        n: rows per mini-batch, at least 1.
        start: from which raw batch on rows are chosen; None is :class:`~impsamp_fast.Always`. Its
            steps are raw batches, and it may learn from the loss but not from tau.
        scoring: how the model is called to score, as in a Selector.
        dropout: whether to score in the mode that the model is in, as in a Selector.
        on_fault: what to do with a row that cannot be scored, since it has a logit that is NaN or
            +inf, or -inf in every class, or a target that is no class. "raise" raises an error: at
            once on the CPU; on an accelerator up to 32 raw batches later, and nothing of that raw
            batch is selected or remembered. "skip" leaves out the row, and counts it in
            ``faulty_rows``. Rows that are not scored are not looked at.
        counts: counts the picks of each sample of the data set. Calls then need ``index``.
        label_smoothing: as in the loss that is trained, see :func:`~impsamp_fast.row_stats`.
        class_weight: likewise, [C].
        ignore_index: likewise; None ignores no row.
        seed: of the random choices, as in a Selector; step t is the t-th raw batch.
        rank: as in a Selector.
        target: likewise.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        model: nn.Module,
        n: int,
        *,
        start: StartRule | None = None,
        scoring: ScoringPass | None = None,
        dropout: bool = False,
        on_fault: OnFault = "raise",
        counts: PickCounts | None = None,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
        seed: int | None = None,
        rank: int | None = None,
        target: str | Columns | None = None,
    ) -> None:
        n = check_parts(model, n, start, rank)
        check_choice("on_fault", on_fault, get_args(OnFault))
        if start is not None and start.learns_from == "tau":
            raise ValueError(
                f"start is a {type(start).__name__}, which learns from tau: a queue has none, use "
                "After(steps) or LossRatio(threshold)"
            )
        self._loss = TrainedLoss(label_smoothing, class_weight, ignore_index)
        self._seed = seed_of_run(seed)
        self.model = model
        self.n = n
        self.start = start
        self.scoring = scoring
        self.dropout = dropout
        self.on_fault = on_fault
        self.counts = counts
        self.seed = seed
        self.rank = rank
        self.target = target
        self._columns = Columns.of(target)
        self._rule = Always() if start is None else start
        self._step = 0
        self._numbered = 0  # rows of raw batches without index
        self._unfilled = 0  # raw batches since there were n rows
        self._importance = False  # of the last raw batch
        self._rows = WaitingRows()
        self._has_warned = False
        self._log = StepLog()
        self._filled: int | None = None  # mini-batches of the step under way, if one is timed
        self._selected: deque[tuple[int, int]] = deque(maxlen=_RECENT)  # of how many rows
        self._found = Found()  # in this raw batch
        self._watch = StatusWatch()
        self._skipped = Tally()
        self._first_call = FirstCall(self._loss, self._rule)
        self._scorer = Scorer(scoring, n, dropout)
        # The operator knows what fits: an error comes now, not in a later step.
        logits, y = self._loss.example()
        row_stats(logits, y, **self._loss.options(y.device))

    @abstractmethod
    def _select(self, x: Any, y: Tensor, seed: int) -> Tensor:
        """Which rows of a raw batch to select, [m] int64; the seed is this step's.

        It remembers what it must only after all that can go wrong.
        """

    def _learner_of(self, x: Any, y: Tensor) -> Callable[[Tensor], None] | None:
        """What the losses [n] of a mini-batch are told to once training has computed them."""
        return None

    @abstractmethod
    def _memory(self) -> dict[str, Any]:
        """What this class remembers between raw batches, as copies."""

    @abstractmethod
    def _check_memory(self, memory: Mapping[str, Any]) -> None:
        """Checks a ``_memory`` with the keys of this class (TypeError, ValueError)."""

    @abstractmethod
    def _load_memory(self, memory: Mapping[str, Any]) -> None:
        """Continues from a ``_memory`` that was checked."""

    @final
    @property
    def faulty_rows(self) -> int:
        """How many faulty rows were skipped so far; an accelerator is waited for."""
        return self._skipped.read()

    @final
    @property
    def waiting(self) -> int:
        """How many rows wait for a mini-batch."""
        return len(self._rows)

    @final
    def __call__(self, x: Any, y: Any = None, index: Tensor | None = None) -> MiniBatch | None:
        """Takes a raw batch; a mini-batch if there are n rows, else None.

        Args:
            x: the raw batch: a tensor [K, ...], or a tuple, list, named tuple or mapping of such,
                nested as you like, of any size K. With ``target`` a mapping that has the targets
                in it.
            y: [K] class indices, or [K, C] class probabilities; not with ``target``.
            index: [K], int64 or int32: the samples' numbers in the data set.

        Raises:
            TypeError: for another structure, or if the model does not return a tensor.
            KeyError: if ``target`` names a key that the batch does not have.
            ValueError: if the first dimensions differ, the logits are not [K, C], or the rows are
                not like those that wait. Also what the scoring raises. No step is counted then.
            IndexError: if ``counts`` is given and an ``index`` is not in the data set.
        """
        if self._columns is not None:
            x, y, index = self._columns.roles(x, y, index)
        y = as_target(y)
        K = self._check(x, y, index)
        if self._filled == 0:
            self._log.mark("training")
        else:
            self._log.begin(y.device, self._rule)
        self._filled = None  # unless all goes well
        self._watch.look()
        if self.counts is not None:
            self.counts.look()
        self._look_at_length()
        numbers = index
        if numbers is None:
            numbers = torch.arange(self._numbered, self._numbered + K, device=y.device)
        rows: Rows = (x, y, numbers)
        self._rows.check_alike(rows)
        importance = self._rule.decide(self._step, K, self.n)
        self._found = Found()
        if importance:
            self._first_call.note_scoring()
        else:
            self._first_call.try_model(
                lambda x, y: self._logits(x, y, K), self._of_model(x), y, self.n
            )
        if importance:
            seed = seed_of_rank(self._seed, rank_here() if self.rank is None else self.rank)
            row = self._select(self._of_model(x), y, seed_of_step(seed, self._step))
            self._log.mark("selection")
            self._selected.append((row.numel(), K))
            rows = gather(rows, row)
        # Rows that stay are the queue's own: the caller may write over the raw batch.
        self._rows = self._rows.joined(rows, own=importance or self.n == K)
        self._importance = importance
        self._numbered += K if index is None else 0
        self._unfilled = 0 if self.waiting >= self.n else self._unfilled + 1
        self._watch.add(self._step, self._found.status, self._found.explain)
        if self._found.skipped is not None:
            self._skipped.add(self._found.skipped)
        self._step += 1
        self._filled = 0
        return self._pop()

    @final
    def pop(self) -> MiniBatch | None:
        """The next mini-batch without another raw batch; None if fewer than n rows wait."""
        if self._filled:
            self._log.mark("training")
        return self._pop()

    def _pop(self) -> MiniBatch | None:
        parts = self._rows.split(int(self.n))
        if parts is None:
            return None
        (x, y, index), rest = parts
        if self.counts is not None:
            self.counts.update(index)
        self._rows = rest
        weight = torch.ones(y.shape[0], dtype=torch.float32, device=y.device)
        listener = self._rule if self._rule.learns_from == "loss" else None
        inputs, x = (None, x) if self._columns is None else (x, self._of_model(x))
        learner = self._learner_of(x, y)
        self._log.mark("gather")
        if self._filled is not None:
            self._filled += 1
            self._log.note_steps(self._importance, self._filled)
        return MiniBatch(
            x,
            as_given(y),
            weight,
            index,
            self._importance,
            listener,
            _learner=learner,
            _inputs=inputs,
        )

    @final
    def report(self) -> Report:
        """What the last mini-batches took; waits for the device.

        A step is all from one raw batch after which there was a mini-batch to the next such one.
        There is no ``tau``: rows have no weights.
        """
        return self._log.report(
            self.n,
            1,
            weighted=False,
            compiled=self.scoring is not None and bool(self.scoring.compile),
            compile_seconds=self._scorer.compile_seconds,
        )

    @final
    def batches(self, loader: Iterable[Any]) -> Iterator[MiniBatch]:
        """Every full mini-batch of a loader's raw batches, ``(x, y)`` or ``(x, y, index)`` each.

        With ``target`` they are dicts. Rows that are left at the end wait for the next loader.
        """
        for item in loader:
            batch = self(*unpack(item))
            while batch is not None:
                yield batch
                batch = self.pop()

    @final
    def metrics(self, wait: bool = False) -> dict[str, float]:
        """What the last raw batches came to, as floats for a logger; nobody waits for them.

        Returns:
            ``step``, the number of the next raw batch; ``importance``, whether rows of the last one
            were chosen, 1 or 0; ``waiting`` rows; ``selected_share``, the share of the rows that
            were selected of the last raw batches of which rows were chosen; and
            ``importance_share`` and ``seconds/`` as a Selector has them.
        """
        numbers = self._log.timings() | {
            "step": float(self._step),
            "importance": float(self._importance),
            "waiting": float(self.waiting),
        }
        if self._selected:
            selected, seen = map(sum, zip(*self._selected, strict=True))
            numbers["selected_share"] = selected / seen
        return numbers

    @final
    def state_dict(self) -> dict[str, Any]:
        """``seed``, ``step``, what is remembered and the rows that wait; not the model's state.

        Named tuples among the rows are saved as tuples, mappings as dicts, and tensors of
        subclasses as tensors.
        """
        return {
            "seed": self._seed,
            "step": self._step,
            "numbered": self._numbered,
            "unfilled": self._unfilled,
            "importance": self._importance,
            "faulty_rows": self._skipped.read(),
            "rows": self._rows.state(),
            "start": self._rule.state_dict(),
            "counts": None if self.counts is None else self.counts.state_dict(),
            "memory": self._memory(),
        }

    @final
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned: the next rows are the same.

        The rows that wait come to the device of the model's parameters.

        Raises:
            KeyError: if the state is not this class's, or that of another start rule.
            TypeError: if a part of it is not of the kind that it has here.
            ValueError: if a number of it is negative, its memory does not fit, or it has counts and
                this queue has none, or the reverse, or they are of a data set of another size.

        After an error the queue is as it was.
        """
        memory = self._memory()
        if set(state) != _STATE or set(state["memory"]) != set(memory):
            raise KeyError(
                f"the state is not that of a {type(self).__name__}: it has the keys "
                f"{sorted(state)}, expected {sorted(_STATE)} and in memory {sorted(memory)}"
            )
        check_seed_and_step(state, "numbered", "unfilled", "faulty_rows")
        if not isinstance(state["importance"], bool):
            raise TypeError(f"the state's importance is {state['importance']!r}, expected a bool")
        self._check_memory(state["memory"])
        rows = WaitingRows.of(state["rows"], self.model)
        load_rule_and_counts(type(self).__name__, self._rule, self.counts, state)
        self._load_memory(state["memory"])
        self._rows = rows
        self._seed = state["seed"]
        self._step = state["step"]
        self._numbered = state["numbered"]
        self._unfilled = state["unfilled"]
        self._importance = state["importance"]
        self._skipped.set(state["faulty_rows"])
        self._watch = StatusWatch()

    def _check(self, x: Any, y: Tensor, index: Tensor | None) -> int:
        """The number of rows K of a raw batch, once all is as it must be."""
        K = check_batch(x, y, index)
        if K == 0:
            raise ValueError("the raw batch has no rows, expected at least 1")
        self._first_call.check_target(y)
        if self.counts is None:
            return K
        if index is None:
            raise ValueError(
                "index is missing, and counts is about the samples of a data set: call with (x, y, "
                "index)"
            )
        # Found out when the mini-batch is counted, the row would be in the queue for good.
        if index.device.type == "cpu":
            check_range(index, self.counts.size)
        return K

    def _look_at_length(self) -> None:
        """Warns once when the queue grows since full mini-batches are not taken out."""
        # A loop that takes out all that there are has fewer than n rows here.
        if self._has_warned or self.waiting < _MANY_MINI_BATCHES * self.n:
            return
        self._has_warned = True
        warnings.warn(
            f"{self.waiting} rows wait in the {type(self).__name__}, enough for "
            f"{self.waiting // self.n} mini-batches, and each call takes out one: call pop() until "
            "it returns None before the next raw batch, or use batches(loader), or the queue grows "
            "without bound",
            stacklevel=3,
        )

    def _of_model(self, x: Any) -> Any:
        """What the model is called with."""
        return x if self._columns is None else self._columns.of_model(x)

    @final
    def _examined(self, operator: Callable[..., Any], x: Any, y: Tensor) -> Examined:
        """The statistics of a raw batch's rows, and which of them must not be selected.

        Args:
            operator: :func:`~impsamp_fast.row_stats`, or a function like it that returns losses.
            x: the raw batch.
            y: its targets.
        """
        compiled = self._scorer.compile_seconds
        logits = self._logits(x, y)
        if self._scorer.compile_seconds == compiled:
            self._log.mark("scoring", y.shape[0])
        else:  # no step takes as long again
            self._log.stop()
        rows = examined(operator, logits, y, self._loss, self.on_fault)
        self._found = rows.found
        return rows

    def _logits(self, x: Any, y: Tensor, raw: int | None = None) -> Tensor:
        return self._scorer(self.model, x, y, raw)[0]
