"""What a training step as a CUDA graph is made of: captures, and what they keep on the device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from impsamp_fast._readback import Backlog
from impsamp_fast._seeds import SEED_INCREMENT
from impsamp_fast.batch._row_drawer import Drawn
from impsamp_fast.batch.break_even import BreakEven
from impsamp_fast.batch.draw_rules import TopQuantile
from impsamp_fast.batch.learned_score import LearnedScore
from impsamp_fast.batch.selector import Selector
from impsamp_fast.ops._arguments import signed

# Shapes of large batches that are captured at most; each keeps its own memory. Others run eagerly.
_MOST_RECORDINGS = 4

# Steps between two looks at whether a selection failed on the device.
_CHECK_EVERY = 16


# Of each group of an optimiser's parameters, the settings that a graph holds as numbers.
Settings = list[dict[str, Any]]


@dataclass(slots=True)
class Recording:
    """A captured step: the memory it reads, the memory it writes, and what it was captured with."""

    replay: Callable[[], None]
    inputs: Any
    drawn: Drawn
    loss: Tensor
    settings: Settings


class Recorder:
    """Captures steps on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Runs eager steps on the stream of the captures, which no other work may be on."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            current.wait_stream(self._stream)

    def record(
        self, step: Callable[[], tuple[Drawn, Tensor]]
    ) -> tuple[Callable[[], None], tuple[Drawn, Tensor]]:
        """Captures a step without running it: what replays it, and the memory it writes to."""
        graph = torch.cuda.CUDAGraph()
        # Other threads, a DataLoader's for one, may go on using the device meanwhile.
        try:
            with (
                torch.cuda.device(self._device),
                torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                result = step()
        except BaseException:
            self._pool = torch.cuda.graph_pool_handle()  # what was in it may still be there
            raise
        return graph.replay, result


def recorder_for(device: torch.device) -> Recorder | None:
    """None where there are no graphs."""
    return Recorder(device) if device.type == "cuda" else None


class Scalars:
    """What captured steps keep on the device: the seed of the next one, and what has failed."""

    def __init__(self, device: torch.device) -> None:
        self.seed = torch.zeros((), dtype=torch.int64, device=device)
        self._seed_is: int | None = None
        self._fault = torch.zeros((), dtype=torch.int64, device=device)
        self._faults = Backlog(1)
        self._calls = 0

    def set_seed(self, seed: int) -> None:
        """Makes the device's seed that of a step, which it is already after a replay."""
        if self._seed_is != seed:
            self.seed.fill_(signed(seed))
        self._seed_is = (seed + SEED_INCREMENT) % (1 << 64)

    def advance(self, status: Tensor | None) -> None:
        """Part of a captured step: the next one's seed, and whether this one's selection failed."""
        self.seed.add_(signed(SEED_INCREMENT))
        self.note(status)

    def note(self, status: Tensor | None) -> None:
        """Remembers on the device whether a selection failed."""
        if status is not None:
            self._fault.bitwise_or_(status)

    def look(self) -> None:
        """Raises, without waiting for the device, when a selection failed some steps ago."""
        self._calls += 1
        if self._calls % _CHECK_EVERY == 0:
            self._faults.add(self._fault)
        for (fault,) in self._faults.due():
            if fault is not None and fault:
                self._faults.clear()
                self._fault.zero_()
                raise ValueError(
                    f"in one of the last {2 * _CHECK_EVERY} steps nothing could be selected: a "
                    "target was not a class, a logit or feature was not finite, or too few rows "
                    "had a positive score; those steps trained with weight 0. Call the selector "
                    "itself on such a batch for the row and its value"
                )


@dataclass(slots=True)
class Session:
    """What there is once a device is known."""

    device: torch.device
    recorder: Recorder
    scalars: Scalars
    eager_steps: dict[Any, int] = field(default_factory=dict)
    recordings: dict[Any, Recording] = field(default_factory=dict)

    def has_room(self, key: Any) -> bool:
        return key in self.recordings or len(self.recordings) < _MOST_RECORDINGS


def check_selector(selector: Selector) -> None:
    if isinstance(selector.score, LearnedScore):
        raise ValueError(
            f"selector has score={type(selector.score).__name__}, which learns from each step, but "
            "the replays of a graph would teach it nothing: call the selector itself"
        )
    if selector.filter is not None or isinstance(selector.method, TopQuantile):
        what = "a filter" if selector.filter is not None else "method TopQuantile"
        raise ValueError(
            f"selector has {what}, but a graph cannot wait for the number of rows that come of it: "
            "call the selector itself"
        )
    if isinstance(selector.start, BreakEven):
        raise ValueError(
            "selector has start=BreakEven(), but the stages of a graph are not timed: call the "
            "selector itself"
        )
    if selector._makes_pools:
        what = f"batches_per_pool={selector.batches_per_pool}"
        raise ValueError(
            f"selector has {'whole_uniform=True' if selector.whole_uniform else what}, but a graph "
            "is one whole training step: call the selector itself"
        )
    if selector.group is not None:
        raise ValueError(
            "selector has a group, but a graph cannot wait for what its ranks say: call the "
            "selector itself"
        )
    if selector.dropout:
        raise ValueError(
            "selector has dropout=True, but a graph cannot set the random state back after "
            "scoring: make the selector with dropout=False"
        )


def check_capturable(optimizer: Optimizer) -> None:
    for number, group in enumerate(optimizer.param_groups):
        if group.get("capturable") is False:
            raise ValueError(
                f"optimizer has capturable=False in group {number}, but a graph cannot read its "
                "step count on the host: make it with capturable=True"
            )


def check_state(optimizer: Optimizer, device: torch.device) -> None:
    for state in optimizer.state.values():
        for name, value in state.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number or (isinstance(value, Tensor) and value.device != device):
                raise ValueError(
                    f"optimizer keeps {name!r} on the host, which a graph cannot advance: use one "
                    "that can be made with capturable=True"
                )


def settings_of(optimizer: Optimizer, device: torch.device) -> Settings:
    """The optimiser's settings that a graph holds as numbers; it reads the device's tensors."""
    return [
        {
            name: value.tolist() if isinstance(value, Tensor) else value
            for name, value in group.items()
            if name != "params" and not (isinstance(value, Tensor) and value.device == device)
        }
        for group in optimizer.param_groups
    ]
