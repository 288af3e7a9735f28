"""What a strategy's steps come to, written every so many of them; nobody waits for a device."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, final

from torch import Tensor

from impsamp_fast._checks import check_integer
from impsamp_fast.batch._metrics import Reading, seconds_of
from impsamp_fast.batch.observation import Observation
from impsamp_fast.batch.strategy import BatchStrategy

# Steps on their way at most: where the host is far ahead of the device, others are left out.
_MOST = 4


class _Coming(NamedTuple):
    reading: Reading
    numbers: dict[str, float]  # which the host knows
    is_due: bool
    has_histogram: bool


class Logger(ABC):
    """Writes the numbers of ``Selector.metrics()`` of every so many steps.

    A logger is what a Selector's ``observe`` takes; a strategy without that is given to ``log`` in
    each step::

        selector = Selector(model, n=128, observe=TensorBoardLogger(writer))

        logger = TensorBoardLogger(writer)
        for batch in queue.batches(loader):
            ...
            logger.log(queue)

    On CUDA a step is written once the device has brought its numbers, some steps later and under
    its own number. Call ``flush`` at the end of training.

    A logger of your own derives from this class and implements ``_write`` and ``_write_histogram``.

    Args:
        every: steps from one that is written to the next, at least 1.
        histogram_every: likewise of a histogram of the scores; None writes none.
        prefix: of the names.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self, every: int = 50, histogram_every: int | None = None, prefix: str = "impsamp/"
    ) -> None:
        self.every = check_integer("every", every, 1)
        if histogram_every is not None:
            histogram_every = check_integer("histogram_every", histogram_every, 1)
        self.histogram_every = histogram_every
        self.prefix = prefix
        self._calls = 0
        self._since = self._by_importance = 0  # steps that were not written
        self._coming: deque[_Coming] = deque()

    @abstractmethod
    def _write(self, numbers: dict[str, float], step: int) -> None:
        """Writes numbers under their names, which begin with the prefix."""

    @abstractmethod
    def _write_histogram(self, name: str, values: Tensor, step: int) -> None:
        """Writes a histogram of values [K] on the CPU."""

    @final
    def __call__(self, seen: Observation) -> None:
        """Takes in a step of a selector."""
        is_due = self._calls % self.every == 0
        has_histogram = (
            self.histogram_every is not None
            and self._calls % self.histogram_every == 0
            and seen.score is not None
        )
        self._calls += 1
        self._since += 1
        self._by_importance += seen.importance
        if (is_due or has_histogram) and len(self._coming) < _MOST:
            numbers = {} if seen.time is None else seconds_of(seen.time)
            if is_due:
                numbers["importance_share"] = self._by_importance / self._since
                self._since = self._by_importance = 0
            self._coming.append(_Coming(Reading(seen), numbers, is_due, has_histogram))
        while self._coming and self._coming[0].reading.has_arrived:
            self._write_next()

    @final
    def log(self, strategy: BatchStrategy) -> None:
        """Takes in a step of a strategy that tells of its steps by ``metrics()`` alone."""
        if self._calls % self.every == 0:
            numbers = strategy.metrics()
            if "step" in numbers:
                self._write(self._named(numbers), int(numbers["step"]))
        self._calls += 1

    @final
    def flush(self) -> None:
        """Writes what is on its way; waits for the device."""
        while self._coming:
            self._write_next()

    def _write_next(self) -> None:
        reading, numbers, is_due, has_histogram = self._coming.popleft()
        if is_due:
            self._write(self._named(reading.numbers() | numbers), reading.step)
        scores = reading.get("score")
        if has_histogram and scores is not None and scores.numel() > 0:
            self._write_histogram(f"{self.prefix}scores", scores, reading.step)

    def _named(self, numbers: dict[str, float]) -> dict[str, float]:
        return {self.prefix + name: number for name, number in numbers.items()}


@final
class FunctionLogger(Logger):
    """Calls a function with the numbers, by name, and the step.

    Args:
        function: such as ``lambda numbers, step: history.append(numbers)`` or the ``log`` of a
            tracker of one's own.
        every: see :class:`Logger`, as all that follow.
        prefix: likewise.
    """

    def __init__(
        self,
        function: Callable[[dict[str, float], int], object],
        every: int = 50,
        prefix: str = "impsamp/",
    ) -> None:
        super().__init__(every, None, prefix)
        self.function = function

    def _write(self, numbers: dict[str, float], step: int) -> None:
        self.function(numbers, step)

    def _write_histogram(self, name: str, values: Tensor, step: int) -> None:
        raise AssertionError("a function is given no histogram")
