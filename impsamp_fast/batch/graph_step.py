"""A whole importance-sampled training step as one CUDA graph."""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from impsamp_fast._checks import check_integer
from impsamp_fast._readback import Backlog
from impsamp_fast._seeds import SEED_INCREMENT, seed_of_step
from impsamp_fast.batch._nested import copied, copy_into, layout
from impsamp_fast.batch.draw_rules import TopQuantile
from impsamp_fast.batch.scoring import call_model
from impsamp_fast.batch.selector import Picked, Selector
from impsamp_fast.ops._arguments import signed

# Shapes of large batches that are captured at most; each keeps its own memory. Others run eagerly.
_MOST_RECORDINGS = 4

# Steps between two looks at whether a selection failed on the device.
_CHECK_EVERY = 16


@dataclass(slots=True)
class _Recording:
    """A captured step: the memory it reads, the memory it writes, and what it was captured with."""

    replay: Callable[[], None]
    x: Any
    y: Tensor
    picked: Picked
    loss: Tensor
    settings: list[dict[str, Any]]


@final
class GraphStep:
    """Training steps by importance sampling, each of them a single launch of a CUDA graph.

    ::

        selector = Selector(model, n=128)
        optimizer = torch.optim.Adam(model.parameters(), capturable=True)
        step = GraphStep(selector, optimizer)
        for x, y in loader:                       # K = 1024 rows, on the GPU
            loss = step(x, y)

    A small model's step is dozens of small kernels, and launching them takes longer than running
    them. So the scoring forward pass, the selection, the gathering of rows, the forward and
    backward pass and the optimiser's step are captured once and replayed from then on, without the
    host waiting for the device.

    A step is captured when its kind, by importance or uniform as the selector's start rule decides,
    and its batch's shapes have come ``warmup`` times; those steps run eagerly and train as all
    others do. Up to four kinds and shapes are captured, others and batches on the CPU run eagerly.
    The rows picked are those that ``selector`` alone would pick with the same seed.

    A graph replays what it has seen. The model's mode, hooks and frozen parameters are those of
    the capture. A change of a number among the optimiser's settings is noticed and captured anew,
    which takes as long as many steps: a learning rate that changes in every step should be a tensor
    on the device, with an optimiser that reads it there (Adam with ``capturable=True``, SGD with
    ``fused=True``). A state that is loaded into the optimiser is captured anew as well; parameters
    must stay where they are (no ``model.to``, no ``load_state_dict(..., assign=True)``).

    Args:
        selector: picks the rows; its model is the one that is trained. Not with ``dropout=True``, a
            filter or ``TopQuantile``.
        optimizer: of the model's parameters. Where it has the option ``capturable`` it must be on.
        loss: ``loss(logits, y)`` gives the losses [n] of the picked rows
            (``reduction="none"``). None is ``torch.nn.functional.cross_entropy`` with the
            selector's label_smoothing, class_weight and ignore_index.
        warmup: eager steps before a capture, at least 1.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if a graph cannot do what the selector does, or ``warmup`` is less than 1; in
            the first step, if the optimiser cannot be captured.
    """

    def __init__(
        self,
        selector: Selector,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        warmup: int = 3,
    ) -> None:
        if not isinstance(selector, Selector):
            raise TypeError(f"selector is {type(selector).__name__}, expected a Selector")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer is {type(optimizer).__name__}, expected an Optimizer")
        if loss is not None and not callable(loss):
            raise TypeError(f"loss is {loss!r}, expected a function of logits and y, or None")
        warmup = check_integer("warmup", warmup, 1)
        _check_selector(selector)
        self.selector = selector
        self.optimizer = optimizer
        self.loss = loss
        self.warmup = warmup
        self._session: _Session | None = None
        # It replaces the state that graphs have captured. The optimiser must not keep this alive.
        me = weakref.ref(self)
        optimizer.register_load_state_dict_post_hook(lambda _: _forget(me()))

    def __call__(self, x: Any, y: Tensor, index: Tensor | None = None) -> Tensor:
        """Does a whole training step.

        Args:
            x: the large batch, as a Selector takes it, on the model's device.
            y: [K] class indices or [K, C] class probabilities.
            index: [K], int64 or int32: the samples' numbers in the data set.

        Returns:
            The mean of ``weight * losses`` over the picked rows, a scalar. The next call
            overwrites it.

        Raises:
            TypeError, ValueError, IndexError: what ``selector`` raises for these arguments; no
                step is done then. A selection that failed on the device, up to 32 steps ago.
            RuntimeError: if the model, the loss or the optimiser does what a graph cannot replay,
                such as reading a number on the host.
        """
        importance = self.selector._begin(x, y, index)
        session = self._session_on(y.device)
        if session is None:
            return self._eager(x, y, index, importance)
        session.scalars.look()
        key = (importance, layout(x), layout(y))
        done = session.eager_steps.get(key, 0)
        if done >= self.warmup and session.has_room(key):
            return self._replay(self._recording(session, key, x, y), session.scalars, index)
        session.eager_steps[key] = done + 1
        with session.recorder.aside():
            return self._eager(x, y, index, importance, session.scalars)

    def state_dict(self) -> dict[str, Any]:
        """The selector's state; the graphs are captured anew."""
        return self.selector.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned; what the selector's raises."""
        self.selector.load_state_dict(state)
        self._session = None

    def _session_on(self, device: torch.device) -> "_Session | None":
        """None where steps run eagerly: without graphs, or on another device than the graphs'."""
        if self._session is None:
            recorder = _recorder_for(device)
            if recorder is None:
                return None
            _check_capturable(self.optimizer)
            self._session = _Session(device, recorder, _Scalars(device))
        return self._session if self._session.device == device else None

    def _eager(
        self,
        x: Any,
        y: Tensor,
        index: Tensor | None,
        importance: bool,
        scalars: "_Scalars | None" = None,
    ) -> Tensor:
        picked, loss = self._train(x, y, importance, self._step_seed())
        if scalars is None:
            self.selector._watch.add(self.selector._step, picked.status, picked.explain)
        else:
            scalars.note(picked.status)
        self._end(picked, loss, index)
        return loss

    def _train(
        self, x: Any, y: Tensor, importance: bool, seed: int | Tensor
    ) -> tuple[Picked, Tensor]:
        """The step itself: what is captured, and what runs eagerly until then."""
        chosen = self.selector._choose(x, y, importance, seed)
        weight = chosen.picked.weight
        self.optimizer.zero_grad(set_to_none=True)
        losses = self._losses(call_model(self.selector.model, chosen.x), chosen.y)
        if losses.shape != weight.shape:
            raise ValueError(
                f"loss returned shape {list(losses.shape)}, expected {list(weight.shape)}, one "
                'loss per row: use reduction="none"'
            )
        loss = (losses * weight).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return chosen.picked, loss.detach()

    def _losses(self, logits: Tensor, y: Tensor) -> Tensor:
        if self.loss is not None:
            return self.loss(logits, y)
        return F.cross_entropy(
            logits,
            y,
            weight=self.selector._class_weight_on(logits.device),
            ignore_index=self.selector.ignore_index,
            reduction="none",
            label_smoothing=self.selector.label_smoothing,
        )

    def _end(self, picked: Picked, loss: Tensor, index: Tensor | None) -> None:
        self.selector._end(picked, index)
        if self.selector._rule.learns_from == "loss":
            self.selector._rule.learn(loss)

    def _step_seed(self) -> int:
        return seed_of_step(self.selector._seed, self.selector._step)

    def _recording(self, session: "_Session", key: Any, x: Any, y: Tensor) -> _Recording:
        """The captured step of this kind, with the batch in the memory that it reads."""
        settings = _settings(self.optimizer, session.device)
        recording = session.recordings.get(key)
        if recording is not None and recording.settings == settings:
            copy_into((recording.x, recording.y), (x, y))
            return recording
        _check_state(self.optimizer, session.device)
        x, y = copied((x, y))

        def step() -> tuple[Picked, Tensor]:
            picked, loss = self._train(x, y, key[0], session.scalars.seed)
            session.scalars.advance(picked.status)
            return picked._replace(explain=None), loss

        try:
            replay, (picked, loss) = session.recorder.record(step)
        except BaseException:
            # Gradients of a capture that failed were never computed.
            self.optimizer.zero_grad(set_to_none=True)
            raise
        recording = session.recordings[key] = _Recording(replay, x, y, picked, loss, settings)
        return recording

    def _replay(self, recording: _Recording, scalars: "_Scalars", index: Tensor | None) -> Tensor:
        scalars.set_seed(self._step_seed())
        recording.replay()
        self._end(recording.picked, recording.loss, index)
        return recording.loss


def _forget(step: GraphStep | None) -> None:
    if step is not None:
        step._session = None


class _Recorder:
    """Captures steps on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Runs eager steps on the stream of the captures, which nobody else's work may be on."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            current.wait_stream(self._stream)

    def record(
        self, step: Callable[[], tuple[Picked, Tensor]]
    ) -> tuple[Callable[[], None], tuple[Picked, Tensor]]:
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


def _recorder_for(device: torch.device) -> _Recorder | None:
    """None where there are no graphs."""
    return _Recorder(device) if device.type == "cuda" else None


class _Scalars:
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
class _Session:
    """What there is once a device is known."""

    device: torch.device
    recorder: _Recorder
    scalars: _Scalars
    eager_steps: dict[Any, int] = field(default_factory=dict)
    recordings: dict[Any, _Recording] = field(default_factory=dict)

    def has_room(self, key: Any) -> bool:
        return key in self.recordings or len(self.recordings) < _MOST_RECORDINGS


def _check_selector(selector: Selector) -> None:
    if selector.filter is not None or isinstance(selector.method, TopQuantile):
        what = "a filter" if selector.filter is not None else "method TopQuantile"
        raise ValueError(
            f"selector has {what}, but a graph cannot wait for the number of rows that come of it: "
            "call the selector itself"
        )
    if selector.dropout:
        raise ValueError(
            "selector has dropout=True, but a graph cannot set the random state back after "
            "scoring: make the selector with dropout=False"
        )


def _check_capturable(optimizer: Optimizer) -> None:
    for number, group in enumerate(optimizer.param_groups):
        if group.get("capturable") is False:
            raise ValueError(
                f"optimizer has capturable=False in group {number}, but a graph cannot read its "
                "step count on the host: make it with capturable=True"
            )


def _check_state(optimizer: Optimizer, device: torch.device) -> None:
    for state in optimizer.state.values():
        for name, value in state.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number or (isinstance(value, Tensor) and value.device != device):
                raise ValueError(
                    f"optimizer keeps {name!r} on the host, which a graph cannot advance: use one "
                    "that can be made with capturable=True"
                )


def _settings(optimizer: Optimizer, device: torch.device) -> list[dict[str, Any]]:
    """The optimiser's settings that a graph holds as numbers; it reads the device's tensors."""
    return [
        {
            name: value.tolist() if isinstance(value, Tensor) else value
            for name, value in group.items()
            if name != "params" and not (isinstance(value, Tensor) and value.device == device)
        }
        for group in optimizer.param_groups
    ]
