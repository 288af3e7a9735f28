"""The forward pass that scores: how the model is called for it."""

import math
import time
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.parallel import DistributedDataParallel

from impsamp_fast._checks import check_integer
from impsamp_fast._settings import ShowsSettings
from impsamp_fast.batch._last_layer import LastLayer
from impsamp_fast.batch._logits import call_model, check_logits, logits_of
from impsamp_fast.batch._nested import gather, narrow, numbers_per_row, tensors_of, with_format
from impsamp_fast.batch._without_trace import without_trace

# On the CPU a smaller chunk costs more in calls than it saves in memory traffic: numbers of x.
_FEWEST_NUMBERS = 1 << 16

_FORMATS = (None, torch.channels_last, torch.channels_last_3d)
_AUTOCAST = (None, torch.bfloat16, torch.float16)

# Rows x to their logits, and the input of the last layer where the score needs it.
_Forward = Callable[[Any], tuple[Any, Tensor | None]]


@final
class ScoringPass(ShowsSettings):
    """How a strategy calls its model to score rows.

    The forward pass of the K rows of a large batch can take as long as several training steps. On
    a CPU most of that is waste, since the activations of so many rows leave the cache::

        scoring = ScoringPass(compile=True, memory_format=torch.channels_last)
        selector = Selector(model, n=128, scoring=scoring)

    ``selector.tune(x, y)`` measures what is fastest. Whatever the setting, the pass leaves no trace
    in the model, see :class:`~impsamp_fast.Selector`. Scores may differ in their last digits from
    one setting to another, and with them the rows that are drawn.

    Args:
        chunk: rows per call of the model, at least 1. Rows are shared out evenly, and memory is
            bounded by what so many take. None is the n of the strategy on the CPU, or as many rows
            as have 2^16 numbers if these are more, and all rows on accelerators; "all" is for
            models whose rows see each other in evaluation mode.
        compile: True compiles the pass by ``torch.compile``, for the shape of a chunk: a last chunk
            of fewer rows is filled up with copies of its last one, so that no size of the large
            batch makes it compile again. On accelerators None is then the size of the first large
            batch. A function compiles in its own way; it is given a function of ``x``. The model
            that is trained stays as it is.
        memory_format: ``torch.channels_last`` or ``channels_last_3d``, for the tensors of ``x``
            that have 4 or 5 dimensions.
        autocast: ``torch.bfloat16`` or ``float16``.
        model: gives the logits in place of the strategy's model, which it may be a part or a
            smaller version of: a module or a function, called with ``x`` in the same way. The
            modes of both are switched.
        logits: a function of what the model returns that has the logits [K, C]. None understands a
            tensor, an object with ``.logits``, a mapping with "logits" and a tuple or list, of
            which it takes the first matrix.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        chunk: int | Literal["all"] | None = None,
        compile: bool | Callable[..., Any] = False,
        memory_format: torch.memory_format | None = None,
        autocast: torch.dtype | None = None,
        model: Callable[..., Any] | None = None,
        logits: Callable[[Any], Tensor] | None = None,
    ) -> None:
        if isinstance(chunk, str) and chunk != "all":
            raise ValueError(f'chunk is "{chunk}", expected a number of rows, "all" or None')
        if chunk is not None and not isinstance(chunk, str):
            chunk = check_integer("chunk", chunk, 1)
        if not isinstance(compile, bool) and not callable(compile):
            raise TypeError(f"compile is {compile!r}, expected a bool or a function")
        if memory_format not in _FORMATS:
            raise ValueError(
                f"memory_format is {memory_format}, expected torch.channels_last, "
                "torch.channels_last_3d or None"
            )
        if autocast not in _AUTOCAST:
            raise ValueError(
                f"autocast is {autocast}, expected torch.bfloat16, torch.float16 or None"
            )
        for name, function in (("model", model), ("logits", logits)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} is {function!r}, expected a function or None")
        self.chunk = chunk
        self.compile = compile
        self.memory_format = memory_format
        self.autocast = autocast
        self.model = model
        self.logits = logits


class Scorer:
    """Does the scoring pass of a strategy.

    Args:
        scoring: how; None is ``ScoringPass()``.
        n: rows of the strategy's training step.
        dropout: whether modules score in the mode that they are in, but for batch norm.
        last_layer: what watches the last layer, if its input is asked for.
    """

    def __init__(
        self,
        scoring: ScoringPass | None,
        n: int,
        dropout: bool,
        last_layer: LastLayer | None = None,
    ) -> None:
        if scoring is not None and not isinstance(scoring, ScoringPass):
            raise TypeError(f"scoring is {scoring!r}, expected a ScoringPass or None")
        self._scoring = ScoringPass() if scoring is None else scoring
        self._n = n
        self._dropout = dropout
        self._last_layer = last_layer
        self._compiled: _Compiled | None = None
        given = self._scoring
        settings = (given.compile, given.memory_format, given.autocast, given.logits, last_layer)
        self._is_plain = not any(settings)

    @property
    def compile_seconds(self) -> float | None:
        """How long the first compiled call took; None where nothing was compiled."""
        return None if self._compiled is None else self._compiled.seconds

    def __call__(
        self, model: nn.Module, x: Any, y: Tensor, large: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The logits [K, C] of rows, and the input of the last layer if it is asked for.

        Of a ``DistributedDataParallel`` what it wraps is called: its own forward pass sends
        buffers, and under ``join`` waits for ranks that have no more data and so do not score.

        Args:
            model: the strategy's.
            x: the rows.
            y: their targets.
            large: K of the large batch, where the rows are only some of it.

        Raises:
            TypeError, ValueError: if the model does not return logits [K, C].
        """
        trained = scored = _unwrapped(model)
        if self._scoring.model is not None:
            scored = _unwrapped(self._scoring.model)
        models = [trained] if scored is trained else [trained, scored]
        return without_trace(models, (x, y), self._dropout, self._run, scored, x, y, large)

    def _run(
        self, model: Callable[..., Any], x: Any, y: Tensor, large: int | None
    ) -> tuple[Tensor, Tensor | None]:
        scoring, tap = self._scoring, self._last_layer
        K = y.shape[0]
        chunk = self._rows_per_call(x, y, K if large is None else large)
        if self._is_plain and chunk >= K:  # a small model's call takes little longer than this
            logits = logits_of(call_model(model, x))
            check_logits(logits, K)
            return logits, None
        handle = None
        if tap is not None:
            if not isinstance(model, nn.Module):
                raise ValueError(
                    'score is "last_layer", but the scoring pass calls a function, which has no '
                    "layers"
                )
            handle = tap.attach(model)
        try:
            if scoring.autocast is None:
                parts = self._parts(model, x, K, chunk)
            else:
                with torch.autocast(y.device.type, scoring.autocast):
                    parts = self._parts(model, x, K, chunk)
        finally:
            if handle is not None:
                handle.remove()
        if len(parts) == 1:
            return parts[0]
        logits, features = zip(*parts, strict=True)
        return torch.cat(logits), None if tap is None else torch.cat(features)

    def _parts(
        self, model: Callable[..., Any], x: Any, K: int, chunk: int
    ) -> list[tuple[Tensor, Tensor | None]]:
        """The results of the rows, chunk by chunk."""
        # A compiler that the user's step goes through compiles this as well. No rows fill no chunk.
        if self._scoring.compile and K > 0 and not is_compiling():
            return list(self._compiled_for(model, chunk).parts(x, K))
        if chunk >= K:
            return [self._forward(model, x, K)]
        return [
            self._forward(model, narrow(x, begin, end), end - begin)
            for begin, end in _shares(K, chunk)
        ]

    def _forward(
        self, model: Callable[..., Any], x: Any, rows: int | None = None
    ) -> tuple[Any, Tensor | None]:
        """The results of one call of the model, checked where their number is given."""
        scoring, tap = self._scoring, self._last_layer
        if scoring.memory_format is not None:
            x = with_format(x, scoring.memory_format)
        output = call_model(model, x)
        logits = logits_of(output) if scoring.logits is None else scoring.logits(output)
        features = None if tap is None else tap.input_that_gave(logits)
        if rows is not None:
            check_logits(logits, rows)
        return logits, features

    def _rows_per_call(self, x: Any, y: Tensor, large: int) -> int:
        chunk = self._scoring.chunk
        if isinstance(chunk, int):
            return chunk
        if chunk == "all" or not y.is_cpu or is_compiling():
            return large
        return min(large, max(self._n, _FEWEST_NUMBERS // max(1, numbers_per_row(x))))

    def _compiled_for(self, model: Callable[..., Any], chunk: int) -> "_Compiled":
        """What was compiled for the model; anew for another model or another chunk that is set."""
        made = self._compiled
        if made is None or made.model is not model:

            def forward(x: Any) -> tuple[Any, Tensor | None]:
                return self._forward(model, x)

            made = self._compiled = _Compiled(model, forward, self._scoring, chunk)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_compiled": None}


class _Compiled:
    """A pass that is compiled for one size of a chunk.

    Args:
        model: that it is the pass of.
        forward: the pass as a function of rows.
        scoring: how it is compiled.
        chunk: rows per call.
    """

    def __init__(
        self, model: Callable[..., Any], forward: _Forward, scoring: ScoringPass, chunk: int
    ) -> None:
        # The compiler counts what it has made of a piece of code, and gives up after some; passes
        # of several models are not the same piece.
        assert isinstance(forward, FunctionType)
        forward.__code__ = forward.__code__.replace()
        self.model = model
        self.chunk = chunk
        self.seconds: float | None = None
        compile = scoring.compile
        self._run: _Forward = (
            compile(forward) if callable(compile) else torch.compile(forward, dynamic=False)
        )

    def parts(self, x: Any, rows: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The results of so many rows."""
        for begin in range(0, rows, self.chunk):
            left = min(self.chunk, rows - begin)
            logits, features = self._timed(self._filled(x, begin, rows))
            check_logits(logits, self.chunk)
            yield logits[:left], None if features is None else features[:left]

    def _filled(self, x: Any, begin: int, rows: int) -> Any:
        """A chunk of rows; the last row again and again where there are fewer."""
        end = begin + self.chunk
        if end <= rows:
            return x if end - begin == rows else narrow(x, begin, end)
        device = next((part.device for part in tensors_of(x)), torch.device("cpu"))
        return gather(x, torch.arange(begin, end, device=device).clamp(max=rows - 1))

    def _timed(self, x: Any) -> tuple[Any, Tensor | None]:
        if self.seconds is not None:
            return self._run(x)
        begin = time.perf_counter()
        results = self._run(x)
        self.seconds = time.perf_counter() - begin
        return results


def _unwrapped(model: Any) -> Any:
    while isinstance(model, DistributedDataParallel):
        model = model.module
    return model


def _shares(rows: int, most: int) -> Iterator[tuple[int, int]]:
    """Begin and end of as few even shares as there can be of so many rows at most."""
    size = math.ceil(rows / math.ceil(rows / most))
    for begin in range(0, rows, size):
        yield begin, min(rows, begin + size)
