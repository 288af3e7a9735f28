"""From a large batch to the mini-batch to train on, for any model that gives logits."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn

from impsamp_fast.memory import PickCounts
from impsamp_fast.ops import Selection, draw, select
from impsamp_fast.scoring import LastLinear, forward_without_trace
from impsamp_fast.start import Always, StartRule

# The increment of a Weyl sequence over the 64-bit integers (2^64 / golden ratio, odd): the seeds of
# a run's steps do not repeat, and two runs with neighbouring seeds share none within any real run.
_WEYL = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


@dataclass(slots=True, eq=False)
class MiniBatch:
    """The rows to train on.

    Attributes:
        x: the picked rows of the large batch's ``x``, in the same structure; a mapping of any kind
            comes back as a dict.
        y: the picked rows of ``y``, [n] or [n, C].
        weight: [n], the weight of each row's loss: float32, whatever torch's default dtype; float64
            only where the rows were drawn by importance from float64 logits.
        index: [n]: the samples' numbers in the data set when ``index`` was given to the selector,
            else the rows of the large batch, int64.
        importance: whether the rows were drawn by importance, or uniformly.
    """

    x: Any
    y: Tensor
    weight: Tensor
    index: Tensor
    importance: bool
    _listener: StartRule | None = field(default=None, repr=False)

    def mean(self, losses: Tensor) -> Tensor:
        """The mean of ``weight * losses``: the loss to call ``backward`` on.

        With correction "unbiased" and any method but "topk", it estimates the sum of the losses of
        the large batch divided by K, the number of all its rows. That is what
        ``F.cross_entropy(...)`` of the large batch returns, unless class indices meet an
        ``ignore_index`` or a ``class_weight``: its own mean then divides by the number of rows that
        are not ignored, or by the sum of the class weights of their targets.

        A start rule that learns from the loss hears it here, the first time that this mini-batch's
        mean is taken.

        Args:
            losses: [n], any floating dtype, the loss of each row (``reduction="none"``). Half
                precision is added up in the dtype of ``weight``.

        Returns:
            A scalar, differentiable in ``losses``.

        Raises:
            ValueError: if ``losses`` is not of shape [n].
        """
        if losses.shape != self.weight.shape:
            raise ValueError(
                f"losses has shape {list(losses.shape)}, expected {list(self.weight.shape)}, one "
                'loss per row: compute it with reduction="none"'
            )
        loss = (losses * self.weight).mean()
        if self._listener is not None:
            self._listener.learn(loss.detach())
            self._listener = None
        return loss


class Selector:
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

    The rows drawn depend on the seed, the step and the scores only: step t is drawn with the seed
    (seed + t * 0x9E3779B97F4A7C15) mod 2^64, where t counts the calls that returned a batch.

    Args:
        model: called as ``model(x)`` for a tensor, ``model(*x)`` for a tuple or list and
            ``model(**x)`` for a dict. It must return logits [K, C].
        n: rows per mini-batch, at least 1.
        score: what makes a row worth training on, see :func:`~impsamp_fast.score`. "last_layer"
            needs a model that returns the output of the ``nn.Linear`` that was registered last,
            with input h, and a bias in this layer: the factor sqrt(1 + |h|^2) has its 1 from there.
        method: how rows are drawn, see :func:`~impsamp_fast.draw`.
        correction: the weights of the rows, see :func:`~impsamp_fast.select`.
        smoothing: the share of uniform sampling in the scores, in [0, 1].
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
        score: str = "grad_norm",
        method: str = "multinomial",
        correction: str | float = "unbiased",
        smoothing: float = 0.0,
        start: StartRule | None = None,
        dropout: bool = False,
        counts: PickCounts | None = None,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int = -100,
        seed: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model is {type(model).__name__}, expected an nn.Module")
        if start is not None and not isinstance(start, StartRule):
            raise TypeError(
                f"start is {start!r}, expected a start rule such as Always() or After(100)"
            )
        if class_weight is not None and not isinstance(class_weight, Tensor):
            raise TypeError(f"class_weight is {class_weight!r}, expected a tensor or None")
        if not isinstance(n, SupportsIndex):
            raise TypeError(f"n is {n!r}, expected an integer")
        if n < 1:
            raise ValueError(f"n is {n}, expected at least 1")
        if seed is not None and not isinstance(seed, SupportsIndex):
            raise TypeError(f"seed is {seed!r}, expected an integer or None")
        if seed is not None and not -(1 << 63) <= operator.index(seed) < 1 << 64:
            raise ValueError(f"seed is {seed}, expected -2^63 <= seed < 2^64")
        self.model = model
        self.n = n
        self.score = score
        self.method = method
        self.correction = correction
        self.smoothing = smoothing
        self.start = start
        self.dropout = dropout
        self.counts = counts
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.ignore_index = ignore_index
        self.seed = seed
        self._rule = Always() if start is None else start
        self._seed = _random_seed() if seed is None else operator.index(seed)
        self._step = 0
        # The operator knows what fits: a wrong argument is an error now, not after a uniform phase.
        classes = 2 if class_weight is None else class_weight.numel()
        logits = torch.zeros(
            1, classes, device="cpu" if class_weight is None else class_weight.device
        )
        y = torch.tensor([int(ignore_index == 0)], device=logits.device)
        self._select(logits, y, 1, logits if score == "last_layer" else None, seed=0)

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
        K = self._check_batch(x, y, index)
        seed = (self._seed + self._step * _WEYL) & _MASK
        learns_from = self._rule.learns_from
        importance = self._rule.decide(self._step, K, self.n)
        tau: Tensor | None = None
        if importance:
            selection = self._score_and_select(x, y, self.n, seed)
            row, weight, tau = selection.index, selection.weight, selection.tau
        else:
            equal = torch.ones(K, dtype=torch.float32, device=y.device)
            row = draw(equal, self.n, method="race", seed=seed).index
            weight = torch.ones(self.n, dtype=torch.float32, device=y.device)

        picked_x, picked_y = _gather(x, row), y.index_select(0, row)
        if learns_from == "tau" and not importance and not self._ignores_all(picked_y):
            tau = self._score_and_select(picked_x, picked_y, 1, seed).tau
        picked = row if index is None else index.index_select(0, row)
        if self.counts is not None:
            self.counts.update(picked)
        if learns_from == "tau" and tau is not None:
            self._rule.learn(tau)
        self._step += 1
        listener = self._rule if learns_from == "loss" else None
        return MiniBatch(picked_x, picked_y, weight, picked, importance, listener)

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
        for name in ("seed", "step"):
            if not isinstance(state[name], int):
                raise TypeError(f"the state's {name} is {state[name]!r}, expected an int")
        if state["step"] < 0:
            raise ValueError(f"the state's step is {state['step']}, expected at least 0")
        if (state["counts"] is None) != (self.counts is None):
            have, lack = ("the state", "this selector")
            if state["counts"] is None:
                have, lack = lack, have
            raise ValueError(
                f"{have} counts picks and {lack} does not: make the selector with the same "
                "counts= as the one that was saved"
            )
        before = self._rule.state_dict()
        self._rule.load_state_dict(state["start"])
        if self.counts is not None:
            try:
                self.counts.load_state_dict(state["counts"])
            except Exception:
                self._rule.load_state_dict(before)
                raise
        self._seed = state["seed"]
        self._step = state["step"]

    def _check_batch(self, x: Any, y: Tensor, index: Tensor | None) -> int:
        """The number of rows K, once all agree on it."""
        if not isinstance(y, Tensor):
            raise TypeError(f"y is {type(y).__name__}, expected a tensor")
        if y.dim() == 0:
            raise ValueError("y is a scalar, expected a tensor whose first dimension is the rows")
        K = y.shape[0]
        _check_rows("x", x, K)
        if index is not None:
            if not isinstance(index, Tensor):
                raise TypeError(f"index is {type(index).__name__}, expected a tensor")
            if index.shape != (K,):
                raise ValueError(f"index has shape {list(index.shape)}, expected [{K}], as y has")
        elif self.counts is not None and self.counts.size != K:
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
        return y.dim() == 1 and bool((y == self.ignore_index).all())

    def _score_and_select(self, x: Any, y: Tensor, n: int, seed: int) -> Selection:
        tap = LastLinear(self.model) if self.score == "last_layer" else None
        try:
            logits = forward_without_trace(self.model, x, y, self.dropout)
        finally:
            if tap is not None:
                tap.remove()
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"the model returned {type(logits).__name__}, expected a tensor of logits: give "
                "the selector a module that returns only these"
            )
        if logits.dim() != 2 or logits.shape[0] != y.shape[0]:
            raise ValueError(
                f"the model returned logits of shape {list(logits.shape)}, expected "
                f"[{y.shape[0]}, C], one row of logits for each row of x"
            )
        features = None if tap is None else tap.input_that_gave(logits)
        return self._select(logits, y, n, features, seed)

    def _select(
        self, logits: Tensor, y: Tensor, n: int, features: Tensor | None, seed: int
    ) -> Selection:
        return select(
            logits,
            y,
            n,
            score=self.score,
            method=self.method,
            correction=self.correction,
            features=features,
            smoothing=self.smoothing,
            seed=seed,
            label_smoothing=self.label_smoothing,
            class_weight=self.class_weight,
            ignore_index=self.ignore_index,
        )


def _random_seed() -> int:
    """A seed from torch's default generator, which stays on the CPU."""
    return int(torch.randint((1 << 63) - 1, (), device="cpu"))


def _check_rows(name: str, x: Any, K: int) -> None:
    if isinstance(x, Tensor):
        if x.dim() == 0 or x.shape[0] != K:
            raise ValueError(f"{name} has shape {list(x.shape)}, but y has {K} rows")
    elif isinstance(x, Mapping):
        for key, part in x.items():
            _check_rows(f"{name}[{key!r}]", part, K)
    elif isinstance(x, tuple | list):
        for position, part in enumerate(x):
            _check_rows(f"{name}[{position}]", part, K)
    else:
        raise TypeError(
            f"{name} is {type(x).__name__}, expected a tensor, or a tuple, list or dict of tensors"
        )


def _gather(x: Any, row: Tensor) -> Any:
    """The rows of each tensor, in a structure like that of ``x``."""
    if isinstance(x, Tensor):
        return x.index_select(0, row)
    if isinstance(x, Mapping):
        return {key: _gather(part, row) for key, part in x.items()}
    parts = [_gather(part, row) for part in x]
    if isinstance(x, list):
        return parts
    return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
