"""Score functions of the user's."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from impsamp_fast.batch._nested import as_given, gather
from impsamp_fast.batch.learned_score import LearnedScore

# From the logits [K, C] and y, and by name x and index, to scores [K].
ScoreFunction = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Scored:
    """A large batch and what the model made of it.

    ``features`` is the input of the last layer, where the score needs it; ``x`` and ``index`` are
    there where a score function takes them.
    """

    logits: Tensor
    y: Tensor
    features: Tensor | None = None
    x: Any = None
    index: Tensor | None = None

    def rows(self, row: Tensor) -> "Scored":
        """The same of some rows."""
        further = (self.features, self.x, self.index)
        return Scored(
            gather(self.logits, row),
            gather(self.y, row),
            *(None if part is None else gather(part, row) for part in further),
        )


class UserScore:
    """Calls a score function with what its signature asks for, and checks what it returns.

    Args:
        function: called with the logits and ``y``, and by name with ``x`` and ``index`` if it has
            parameters of these names besides its first two.
        negative: whether scores may be negative.

    Raises:
        TypeError: if it is not a function.
    """

    def __init__(self, function: ScoreFunction, negative: bool) -> None:
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"score is {function!r}, expected a str or a function")
        further = _further_parameters(function)
        self._takes_x = "x" in further
        self.takes_index = "index" in further
        self.needs_index = self.takes_index and further["index"].default is inspect.Parameter.empty
        self._function = function
        self.learned = function if isinstance(function, LearnedScore) else None
        self.negative = negative

    def with_what_it_takes(self, scored: Scored, x: Any, index: Tensor | None) -> Scored:
        """The same with the x and index that the function takes."""
        return replace(
            scored, x=x if self._takes_x else None, index=index if self.takes_index else None
        )

    def __call__(self, scored: Scored) -> Tensor:
        """The scores [K], float32 or float64."""
        with torch.no_grad():
            scores = self._function(scored.logits, as_given(scored.y), **self._further(scored))
        self._check_kind(scores, scored.y.shape[0])
        return scores if scores.dtype == torch.float64 else scores.to(torch.float32)

    def learn(self, scored: Scored) -> None:
        """Shows a learned score the rows of a large batch that was drawn from."""
        assert self.learned is not None
        with torch.no_grad():
            self.learned.learn(scored.logits, scored.y, **self._further(scored))

    def _further(self, scored: Scored) -> dict[str, Any]:
        further: dict[str, Any] = {}
        if self._takes_x:
            further["x"] = scored.x
        if scored.index is not None:
            further["index"] = scored.index
        return further

    def check(self, scores: Tensor) -> None:
        """ValueError for a wrong value on the CPU; elsewhere the host would have to wait.

        Nor can a graph that is traced branch on values.
        """
        if not scores.is_cpu or is_compiling():
            return
        wrong = ~scores.isfinite() if self.negative else ~(scores.isfinite() & (scores >= 0))
        if wrong.any():
            row = int(wrong.nonzero()[0])
            wanted = "finite numbers" + (
                "" if self.negative else ' that are not negative, unless method is "topk"'
            )
            raise ValueError(
                f"score returned {scores[row].item()} for row {row}, expected {wanted}"
            )

    def _check_kind(self, scores: Any, K: int) -> None:
        if not isinstance(scores, Tensor):
            raise TypeError(f"score returned {type(scores).__name__}, expected a tensor")
        if not scores.is_floating_point():
            raise TypeError(f"score returned a tensor of {scores.dtype}, expected floating point")
        if scores.shape != (K,):
            raise ValueError(
                f"score returned shape {list(scores.shape)}, expected [{K}], one per row"
            )


def positive_if_negative(scores: Tensor, ignored: Tensor | None) -> Tensor:
    """Scores for topk: as they are, or where one is negative their ranks, which are not.

    Ranks begin at 1; ignored rows get 0. Of equal scores the first ranks highest, as in topk.
    """
    if ignored is not None:
        scores = scores.masked_fill(ignored, 0)
    lowest_last = scores if ignored is None else scores.masked_fill(ignored, -torch.inf)
    order = lowest_last.argsort(descending=True, stable=True)
    K = scores.numel()
    dtype = scores.dtype if K < 1 << 24 else torch.float64  # which holds the ranks exactly
    ranks = torch.empty(K, dtype=dtype, device=scores.device)
    ranks[order] = torch.arange(K, 0, -1, dtype=dtype, device=scores.device)
    if ignored is not None:
        ranks = ranks.masked_fill(ignored, 0)
    return torch.where((scores < 0).any(), ranks, scores.to(dtype))


def _further_parameters(function: ScoreFunction) -> dict[str, inspect.Parameter]:
    """The parameters besides the first two, by name; none of a function without a signature."""
    try:
        of = function.forward if isinstance(function, nn.Module) else function
        parameters = list(inspect.signature(of).parameters.values())
    except ValueError:
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    positional = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    first_two = positional[:2]
    return {p.name: p for p in parameters if p.kind in by_name and p not in first_two}
