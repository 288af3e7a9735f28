"""Which scoring pass is the fastest of a model here."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impsamp_fast.batch._nested import tensors_of
from impsamp_fast.batch.scoring_pass import ScoringPass

_FEWEST, _MOST, _SECONDS = 3, 20, 0.3  # calls of one setting that are timed

# Makes the scores [K] of a large batch by a scoring pass.
_Score = Callable[[], Tensor]


class Trial(NamedTuple):
    """A setting that was tried.

    ``change`` is the largest change of a score, in units of the mean score; ``failure`` is what it
    raised, if it did.
    """

    scoring: ScoringPass
    seconds: float = float("inf")
    change: float = float("inf")
    failure: str = ""


class Tuning:
    """Tries settings one by one until the time is over.

    Args:
        score_by: makes what scores the large batch by a scoring pass.
        device: that the model is on.
        tolerance: the largest ``change`` that is accepted.
        seconds: after so many no other setting is tried.
    """

    def __init__(
        self,
        score_by: Callable[[ScoringPass], _Score],
        device: torch.device,
        tolerance: float,
        seconds: float,
    ) -> None:
        self._score_by = score_by
        self._device = device
        self._tolerance = tolerance
        self._end = time.perf_counter() + seconds
        self._truth: Tensor | None = None
        self.trials: dict[tuple[Any, ...], Trial] = {}

    def best_of(self, first: ScoringPass, axes: dict[str, list[Any]]) -> ScoringPass:
        """Changes one setting at a time for the better, twice over; its first is the reference."""
        best = self._try(first)
        for _ in range(2):
            for name, values in axes.items():
                for value in values:
                    if time.perf_counter() > self._end:
                        return best.scoring
                    trial = self._try(_changed(best.scoring, name, value))
                    if trial.change <= self._tolerance and trial.seconds < best.seconds:
                        best = trial
        return best.scoring

    def table(self, rows: int) -> str:
        """What was tried, the fastest first."""
        lines = [(f"scoring pass of {rows} rows", "time", "largest change of a score")]
        for trial in sorted(self.trials.values(), key=lambda trial: trial.seconds):
            if trial.failure:
                lines.append((repr(trial.scoring), "-", trial.failure))
            else:
                took, change = f"{1e3 * trial.seconds:.2f} ms", f"{trial.change:.1e} of the mean"
                lines.append((repr(trial.scoring), took, change))
        widths = [max(len(line[column]) for line in lines) for column in range(2)]
        return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c}" for a, b, c in lines)

    def _try(self, scoring: ScoringPass) -> Trial:
        key = _settings(scoring)
        if key not in self.trials:
            self.trials[key] = self._measured(scoring)
        return self.trials[key]

    def _measured(self, scoring: ScoringPass) -> Trial:
        run = self._score_by(scoring)
        try:
            scores = run().double()
        except Exception as error:
            if self._truth is None:
                raise
            return Trial(scoring, failure=f"{type(error).__name__}: {error}".splitlines()[0][:60])
        if self._truth is None:
            self._truth = scores
        change = (scores - self._truth).abs().max() / self._truth.abs().mean()
        return Trial(
            scoring, statistics.median(self._times(run)), change.nan_to_num(torch.inf).item()
        )

    def _times(self, run: _Score) -> Iterator[float]:
        end = time.perf_counter() + _SECONDS
        for call in range(_MOST):
            if call >= _FEWEST and time.perf_counter() > end:
                return
            begin = time.perf_counter()
            run()
            _wait_for(self._device)
            yield time.perf_counter() - begin


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def axes_of(x: Any, rows: int, n: int, device: torch.device) -> dict[str, list[Any]]:
    """The settings to choose from for a large batch of so many rows, in the order of trial."""
    dimensions = {part.dim() for part in tensors_of(x)}
    formats = [torch.channels_last] * (4 in dimensions) + [torch.channels_last_3d] * (
        5 in dimensions
    )
    half = [torch.bfloat16] + [torch.float16] * (device.type == "cuda")
    return {
        "memory_format": [None, *formats],
        "chunk": [*_chunks(n, rows), "all"],
        "compile": [False, True],
        "autocast": [None, *half],
    }


def _chunks(n: int, rows: int) -> Iterable[int]:
    chunk = max(1, n // 2)
    while chunk < rows:
        yield chunk
        chunk *= 2


def _settings(scoring: ScoringPass) -> tuple[Any, ...]:
    return scoring.chunk, scoring.compile, scoring.memory_format, scoring.autocast


def _changed(scoring: ScoringPass, name: str, value: Any) -> ScoringPass:
    settings = {key: getattr(scoring, key) for key in _ARGUMENTS}
    return ScoringPass(**settings | {name: value})


_ARGUMENTS = ("chunk", "compile", "memory_format", "autocast", "model", "logits")
