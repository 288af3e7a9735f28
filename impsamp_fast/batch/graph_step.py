"""A whole importance-sampled training step as one CUDA graph."""

import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from impsamp_fast._checks import check_integer
from impsamp_fast._seeds import seed_of_step
from impsamp_fast.batch._graphs import (
    Recording,
    Scalars,
    Session,
    Settings,
    check_capturable,
    check_selector,
    check_state,
    recorder_for,
    settings_of,
)
from impsamp_fast.batch._logits import call_model, logits_of
from impsamp_fast.batch._nested import as_given, copied, copy_into, layout
from impsamp_fast.batch._row_drawer import Drawn
from impsamp_fast.batch._user_score import UserScore
from impsamp_fast.batch.selector import Selector

# Settings that change so many times in a row after no more than so many steps cost more to capture
# than their replays save.
_CHANGES = 3
_FEW_STEPS = 16


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
    The rows drawn are those that ``selector`` alone would draw with the same seed.

    ``before_step`` is the place for gradient clipping::

        clip = partial(torch.nn.utils.clip_grad_norm_, model.parameters(), 1.0)
        step = GraphStep(selector, optimizer, before_step=clip)

    A ``GradScaler`` does not work here, since it reads on the host whether a gradient overflowed:
    use bfloat16, or call the selector itself. Nor does the accumulation of gradients over several
    calls, since each is a whole step: take a larger n instead.

    A graph replays what it has seen. The model's mode, hooks and frozen parameters are those of
    the capture. A change of a number among the optimiser's settings is noticed and captured anew,
    which takes as long as many steps: a learning rate that changes in every step should be a tensor
    on the device, with an optimiser that reads it there (Adam with ``capturable=True``, SGD with
    ``fused=True``); a warning says so once. A state that is loaded into the optimiser is captured
    anew as well; parameters must stay where they are (no ``model.to``, no
    ``load_state_dict(..., assign=True)``).

    Args:
        selector: draws the rows; its model is the one that is trained. Not with ``dropout=True``, a
            filter or ``TopQuantile``.
        optimizer: of the model's parameters. Where it has the option ``capturable`` it must be on.
        loss: ``loss(logits, y)`` gives the losses [n] of the drawn rows
            (``reduction="none"``). None is ``torch.nn.functional.cross_entropy`` with the
            selector's label_smoothing, class_weight and ignore_index.
        before_step: called without arguments after the backward pass and before the optimiser's
            step, on the same stream; what it does to the gradients is captured as well.
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
        before_step: Callable[[], object] | None = None,
        warmup: int = 3,
    ) -> None:
        if not isinstance(selector, Selector):
            raise TypeError(f"selector is {type(selector).__name__}, expected a Selector")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer is {type(optimizer).__name__}, expected an Optimizer")
        if loss is not None and not callable(loss):
            raise TypeError(f"loss is {loss!r}, expected a function of logits and y, or None")
        if before_step is not None and not callable(before_step):
            raise TypeError(f"before_step is {before_step!r}, expected a function or None")
        warmup = check_integer("warmup", warmup, 1)
        check_selector(selector)
        self.selector = selector
        self.optimizer = optimizer
        self.loss = loss
        self.before_step = before_step
        self.warmup = warmup
        self._settings: Settings | None = None  # of the last step by a graph
        self._steps_since_change = 0
        self._quick_changes = 0
        self._session: Session | None = None
        # It replaces the state that graphs have captured. The optimiser must not keep this alive,
        # nor a hook that outlives it.
        me = weakref.ref(self)
        hook = optimizer.register_load_state_dict_post_hook(lambda _: _forget(me()))
        weakref.finalize(self, hook.remove)

    def __call__(self, x: Any, y: Any = None, index: Tensor | None = None) -> Tensor | Any:
        """Does a whole training step.

        Args:
            x: the large batch, as a Selector takes it, on the model's device.
            y: [K] class indices or [K, C] class probabilities; not where the selector has a
                ``target``.
            index: [K], int64 or int32: the samples' numbers in the data set.

        Returns:
            The mean of ``weight * losses`` over the drawn rows, a scalar. The next call
            overwrites it. None for a small batch that the selector skips.

        Raises:
            TypeError, KeyError, ValueError, IndexError: what ``selector`` raises for these
                arguments; no step is done then. A selection that failed on the device, up to 32
                steps ago.
            RuntimeError: if the model, the loss or the optimiser does what a graph cannot replay,
                such as reading a number on the host.
        """
        x, y, index = self.selector._roles(x, y, index)
        importance = self.selector._begin(x, y, index)
        if importance is None:
            return None
        session = self._session_on(y.device)
        if session is None:
            return self._eager(x, y, index, importance)
        session.scalars.look()
        key = (importance, layout(self._inputs(x, y, index)))
        done = session.eager_steps.get(key, 0)
        if done >= self.warmup and session.has_room(key):
            recording = self._recording(session, key, self._inputs(x, y, index))
            return self._replay(recording, session.scalars, y.shape[0], index, importance)
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

    def _session_on(self, device: torch.device) -> "Session | None":
        """None where steps run eagerly: without graphs, or on another device than the graphs'."""
        if self._session is None:
            recorder = recorder_for(device)
            if recorder is None:
                return None
            check_capturable(self.optimizer)
            self._session = Session(device, recorder, Scalars(device))
        return self._session if self._session.device == device else None

    def _eager(
        self,
        x: Any,
        y: Tensor,
        index: Tensor | None,
        importance: bool,
        scalars: "Scalars | None" = None,
    ) -> Tensor:
        drawn, loss = self._train(x, y, index, importance, self._step_seed())
        if scalars is None:
            self.selector._watch.add(self.selector._step, drawn.found.status, drawn.found.explain)
        else:
            scalars.note(drawn.found.status)
        self._end(drawn, loss, y.shape[0], index, importance)
        return loss

    def _train(
        self, x: Any, y: Tensor, index: Tensor | None, importance: bool, seed: int | Tensor
    ) -> tuple[Drawn, Tensor]:
        """The step itself: what is captured, and what runs eagerly until then."""
        x, y, drawn = self.selector._draw(x, y, index, importance, [seed])
        weight = drawn.weight
        self.optimizer.zero_grad(set_to_none=True)
        logits = logits_of(call_model(self.selector.model, self.selector._of_model(x)))
        losses = (self.loss or self.selector._loss.losses)(logits, as_given(y))
        if losses.shape != weight.shape:
            raise ValueError(
                f"loss returned shape {list(losses.shape)}, expected {list(weight.shape)}, one "
                'loss per row: use reduction="none"'
            )
        loss = (losses * weight).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.before_step is not None:
            self.before_step()
        self.optimizer.step()
        return drawn, loss.detach()

    def _end(
        self, drawn: Drawn, loss: Tensor, K: int, index: Tensor | None, importance: bool
    ) -> None:
        self.selector._log.note(self.selector._step, importance, K, drawn, None)
        self.selector._end(drawn, index)
        if self.selector._rule.learns_from == "loss":
            self.selector._rule.learn(loss)

    def _step_seed(self) -> int:
        return seed_of_step(self.selector._seed_here, self.selector._step)

    def _inputs(self, x: Any, y: Tensor, index: Tensor | None) -> Any:
        """What a graph reads of a batch: the index only where the score function takes it."""
        score = self.selector._score
        takes_index = isinstance(score, UserScore) and score.takes_index
        return (x, y, index) if takes_index and index is not None else (x, y)

    def _recording(self, session: Session, key: Any, inputs: Any) -> Recording:
        """The captured step of this kind, with the batch in the memory that it reads."""
        settings = settings_of(self.optimizer, session.device)
        self._look_at_changes(settings)
        recording = session.recordings.get(key)
        if recording is not None and recording.settings == settings:
            copy_into(recording.inputs, inputs)
            return recording
        check_state(self.optimizer, session.device)
        inputs = copied(inputs)

        def step() -> tuple[Drawn, Tensor]:
            x, y, index = inputs if len(inputs) == 3 else (*inputs, None)
            drawn, loss = self._train(x, y, index, key[0], session.scalars.seed)
            session.scalars.advance(drawn.found.status)
            return drawn._replace(found=drawn.found._replace(explain=None)), loss

        try:
            replay, (drawn, loss) = session.recorder.record(step)
        except BaseException:
            # Gradients of a capture that failed were never computed.
            self.optimizer.zero_grad(set_to_none=True)
            raise
        recording = session.recordings[key] = Recording(replay, inputs, drawn, loss, settings)
        return recording

    def _look_at_changes(self, settings: Settings) -> None:
        """Warns once when settings change so often that captures do not pay."""
        before, self._settings = self._settings, settings
        self._steps_since_change += 1
        if before is None or before == settings:
            return
        quick = self._steps_since_change <= _FEW_STEPS
        self._quick_changes = self._quick_changes + 1 if quick else 0
        self._steps_since_change = 0
        if self._quick_changes != _CHANGES:
            return
        changed = {
            name
            for now, then in zip(settings, before, strict=True)
            for name in now.keys() | then.keys()
            if now.get(name) != then.get(name)
        }
        warnings.warn(
            f"the optimiser's {' and '.join(sorted(changed))} changes every few steps, and each "
            "time the step is captured anew, which takes as long as many steps: make it a tensor "
            "on the model's device, which schedulers change in place, with an optimiser that reads "
            'it there: Adam(..., lr=torch.tensor(1e-3, device="cuda"), capturable=True)',
            stacklevel=4,
        )

    def _replay(
        self,
        recording: Recording,
        scalars: Scalars,
        K: int,
        index: Tensor | None,
        importance: bool,
    ) -> Tensor:
        scalars.set_seed(self._step_seed())
        recording.replay()
        self._end(recording.drawn, recording.loss, K, index, importance)
        return recording.loss


def _forget(step: GraphStep | None) -> None:
    if step is not None:
        step._session = None
