"""Batch sizes that follow the variance reduction: at constant time, or at constant variance."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast.batch._arguments import unpack
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import VarianceReduction
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset.pick_counts import PickCounts


class _Adaptive(BatchStrategy):
    """A selector whose mini-batches have another size while it draws by importance."""

    def __init__(
        self, model: nn.Module, n: int, threshold: float, momentum: float, options: dict[str, Any]
    ) -> None:
        for name in ("start", "batches_per_pool"):
            if name in options:
                raise TypeError(f"{name} is given, but a {type(self).__name__} has its own")
        self._rule = VarianceReduction(threshold, momentum)
        self.model = model
        self.n = check_integer("n", n, 1)
        self.momentum = momentum
        self.options = options
        self.selector = Selector(model, n, start=self._rule, **options)

    @abstractmethod
    def _sizes(self, tau: float) -> tuple[int, int]:
        """Rows to score and rows to train on while importance sampling is on."""

    def _now(self) -> tuple[int, int]:
        on = self._rule.decide(0, self.n, self.n)
        return self._sizes(self._rule.average) if on else (self.n, self.n)

    @final
    @property
    def raw_size(self) -> int:
        """How many rows are to be scored, or while it is off, n."""
        return self._now()[0]

    @property
    def counts(self) -> PickCounts | None:
        """The selector's."""
        return self.selector.counts

    @property
    def target(self) -> str | Columns | None:
        """The selector's."""
        return self.selector.target

    @property
    def correction(self) -> str | float:
        """The selector's."""
        return self.selector.correction

    @final
    def __call__(self, x: Any, y: Any = None, index: Tensor | None = None) -> MiniBatch | None:
        """The mini-batch of this step; see :class:`~impsamp_fast.Selector`."""
        self.selector.n = self._now()[1]
        mini: MiniBatch | None = self.selector(x, y, index)
        return mini

    @final
    def batches(self, loader: Iterable[Any]) -> Iterator[MiniBatch]:
        """The mini-batch of each raw batch of a loader, ``(x, y)`` or ``(x, y, index)`` each."""
        for item in loader:
            batch = self(*unpack(item))
            if batch is not None:
                yield batch

    @final
    def metrics(self, wait: bool = False) -> dict[str, float]:
        """The selector's, with the rows ``n`` of the last mini-batch and the next ``raw_size``."""
        sizes = {"n": float(self.selector.n), "raw_size": float(self.raw_size)}
        return self.selector.metrics(wait) | sizes

    @final
    def state_dict(self) -> dict[str, Any]:
        """The selector's; the sizes follow from it."""
        return self.selector.state_dict()

    @final
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned; what the selector's raises."""
        self.selector.load_state_dict(state)


@final
class ConstantTime(_Adaptive):
    r"""Better gradients in the time of a uniform step: fewer rows trained on, more rows scored.

    ``ConstantTimeSampler`` in the code that Katharopoulos and Fleuret published with their paper of
    2018. A forward pass of a row takes 1 and its backward pass b, so that a uniform step of n rows
    takes t = (1 + b) n. While the moving average :math:`\tau` of
    :class:`~impsamp_fast.VarianceReduction` is above the threshold, at least
    a = max(least n, n / :math:`\tau`) rows have to be trained on, which leaves time to score up to
    t - (1 + b) a; K = n + ratio (t - (1 + b) a - n) rows are scored, and (t - K) / (1 + b) of them
    trained on. Both are rounded down. The weights are a Selector's: unbiased by default.

    Ask for ``raw_size`` rows at each step; scoring any other number is as right.

    Args:
        model: called as by a :class:`~impsamp_fast.Selector`.
        n: rows of a uniform mini-batch, at least 1.
        backward: b, the time of a backward pass over that of a forward pass, at least 0.
        threshold: of :math:`\tau`.
        ratio: which share of the time that is left goes into scoring, in [0, 1].
        least: the smallest mini-batch, as a share of n, in (0, 1].
        momentum: of the average, in [0, 1).
        options: of a Selector, except for ``start`` and ``batches_per_pool``.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        model: nn.Module,
        n: int,
        *,
        backward: float = 2.0,
        threshold: float = 2.0,
        ratio: float = 0.5,
        least: float = 0.2,
        momentum: float = 0.9,
        **options: Any,
    ) -> None:
        self.backward = check_number("backward", backward, 0)
        self.threshold = check_number("threshold", threshold, 1)
        self.ratio = check_number("ratio", ratio, 0, 1, open_high=False)
        self.least = check_number("least", least, 0, 1, open_low=True, open_high=False)
        super().__init__(model, n, threshold, momentum, options)

    def _sizes(self, tau: float) -> tuple[int, int]:
        step = 1 + self.backward
        fewest = max(self.least * self.n, self.n / tau)
        most_scored = step * (self.n - fewest)
        scored = int(self.n + self.ratio * (most_scored - self.n))
        return scored, max(1, int((step * self.n - scored) / step))


@final
class ConstantVariance(_Adaptive):
    r"""The gradients of a uniform step in less time: n rows are scored, and fewer trained on.

    ``ConstantVarianceSampler`` in the code that Katharopoulos and Fleuret published with their
    paper of 2018: (1 / :math:`\tau` + extra) n rows, rounded down, while the moving average
    :math:`\tau` of :class:`~impsamp_fast.VarianceReduction` is above 1 / (b / (1 + b) - extra),
    where a backward pass takes b times as long as a forward pass. The weights are a Selector's:
    unbiased by default.

    Args:
        model: called as by a :class:`~impsamp_fast.Selector`.
        n: rows of a uniform mini-batch, and rows to score, at least 1.
        backward: b, at least 0.
        extra: more rows than :math:`\tau` asks for, as a share of n, at least 0 and less than
            b / (1 + b).
        momentum: of the average, in [0, 1).
        options: of a Selector, except for ``start`` and ``batches_per_pool``.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        model: nn.Module,
        n: int,
        *,
        backward: float = 2.0,
        extra: float = 0.2,
        momentum: float = 0.9,
        **options: Any,
    ) -> None:
        self.backward = check_number("backward", backward, 0)
        saved = self.backward / (1 + self.backward)
        self.extra = check_number("extra", extra, 0, saved)
        super().__init__(model, n, 1 / (saved - self.extra), momentum, options)

    def _sizes(self, tau: float) -> tuple[int, int]:
        return self.n, max(1, int((1 / tau + self.extra) * self.n))
