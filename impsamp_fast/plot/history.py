"""The numbers of a run's steps, kept for figures."""

from typing import final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer
from impsamp_fast.integrations.loggers import Logger

_LEVELS = 100  # of the quantiles, from the smallest to the largest score


@final
class History(Logger):
    """Keeps the numbers of a run's steps and quantiles of their scores, in bounded memory.

    ::

        history = History(every=10)
        selector = Selector(model, n=128, observe=history)
        ...
        scores_over_training(history).savefig("scores.png")

    It takes a step in every so many. Once it has ``most`` of them, every other one is dropped, and
    from then on it takes half as many. Of an accelerator nobody waits until a figure is made.

    Args:
        every: steps from one that is kept to the next, at least 1. It grows with the run.
        most: steps that are kept, at least 2.

    Attributes:
        numbers: those of ``Selector.metrics()`` by step.
        quantiles: of the finite scores, from the least to the largest, [101] float64, by step; of
            those steps that had scores.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(self, every: int = 10, most: int = 512) -> None:
        super().__init__(every, every, prefix="")
        self.most = check_integer("most", most, 2)
        self.numbers: dict[int, dict[str, float]] = {}
        self.quantiles: dict[int, Tensor] = {}

    def _write(self, numbers: dict[str, float], step: int) -> None:
        if len(self.numbers) == self.most:
            for dropped in list(self.numbers)[1::2]:
                del self.numbers[dropped]
                self.quantiles.pop(dropped, None)
            self.every *= 2
            self.histogram_every = self.every
        self.numbers[step] = numbers

    def _write_histogram(self, name: str, values: Tensor, step: int) -> None:
        self.quantiles[step] = quantiles(values)


def quantiles(scores: Tensor) -> Tensor:
    """Of the finite scores, smallest to largest, [101] float64; NaN if there are none."""
    scores = scores.detach().cpu().flatten()
    ordered = scores[scores.isfinite()].double().sort().values
    if len(ordered) == 0:
        return torch.full((_LEVELS + 1,), torch.nan, dtype=torch.float64)
    ranks = torch.linspace(0, len(ordered) - 1, _LEVELS + 1, dtype=torch.float64)
    return ordered[ranks.round().long()]
