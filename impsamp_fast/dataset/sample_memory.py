"""What training has shown about each sample of the data set, by its number."""

from collections.abc import Collection, Mapping
from typing import Any, final, get_args

import torch
from torch import Tensor

from impsamp_fast._checks import check_choice, check_integer, check_saved_integers, kind_of
from impsamp_fast._extension import _C
from impsamp_fast._faults import OnFault
from impsamp_fast._readback import Updates
from impsamp_fast._settings import ShowsSettings
from impsamp_fast.dataset._step import SHOWN, shown
from impsamp_fast.dataset.pick_counts import PickCounts

__all__ = ["SampleMemory"]

_TRACKS = (*SHOWN, "picks")


@final
class SampleMemory(ShowsSettings):
    """Per-sample statistics of a data set, from the losses and logits of ordinary training steps.

    ::

        memory = SampleMemory(len(data), track=("loss", "p_true"))
        for x, y, index in loader:                    # the samples' numbers in the data set
            logits = model(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            memory.update(index, logits, y, losses=losses)

    A sample's statistics belong to its number, whatever the augmentation made of the sample in that
    step: they describe the views that were trained on, not the view that will be drawn next
    (Smedås 2021 names this for filters that look at one view and train on another).

    The tensors are on the CPU and take, per sample: 4 bytes for ``seen``, and 4 for "loss", 8 for
    "p_true", ``history`` times 1 (up to 256 classes), 2 (up to 32768) or 4 for "labels", and 8 for
    "picks". With the defaults 10^8 samples take 0.8 GB; ``nbytes`` tells. A state takes as much
    again.

    Two threads must not update one memory at once. Reading it counts as an update where steps of an
    accelerator wait to be fetched.

    Args:
        size: N, the number of samples in the data set, at least 1.
        track: what is remembered, any of

            - "loss": the last loss, in ``loss``;
            - "p_true": mean and variance of the probability of the true class, in ``p_true_mean``
              and ``p_true_variance``;
            - "labels": the last ``history`` predicted labels, in ``labels`` and
              ``label_entropy()``;
            - "picks": how often each sample was picked, in ``picks``.
        history: for "labels", how many labels are kept, at least 1. Song et al. (2020) keep 10.
        classes: for "labels" and nothing else, the number of classes C, from 2 to 2^31 - 1.
        on_fault: what to do with a row that has a logit that is NaN or +inf, or -inf in every
            class, a target that is no class, or a loss that is not finite, as far as these are
            looked at. "raise" raises an error: at once on the CPU, some steps later on an
            accelerator; and nothing of that step is remembered. "skip" leaves out the row, so that
            what was known of its sample stays, and counts it in ``faulty_rows``.

    Raises:
        TypeError: if an argument is not of the kind described.
        ValueError: if ``size``, ``history`` or ``classes`` is out of range, ``track`` has an
            unknown name, ``classes`` is missing or not asked for, or ``on_fault`` is neither of
            the two.
    """

    def __init__(
        self,
        size: int,
        *,
        track: Collection[str] = ("loss",),
        history: int = 10,
        classes: int | None = None,
        on_fault: OnFault = "raise",
    ) -> None:
        size = check_integer("size", size, 1)
        history = check_integer("history", history, 1)
        check_choice("on_fault", on_fault, get_args(OnFault))
        if isinstance(track, str) or not isinstance(track, Collection):
            raise TypeError(f"track is {track!r}, expected a collection such as ('loss', 'p_true')")
        for name in track:
            if name not in _TRACKS:
                raise ValueError(f"track names {name!r}, expected any of {', '.join(_TRACKS)}")
        if "labels" in track:
            if classes is None:
                raise ValueError('classes is None, but tracking "labels" needs their number')
            classes = check_integer("classes", classes, 2, (1 << 31) - 1)
        elif classes is not None:
            raise ValueError(f'classes is {classes}, but only tracking "labels" uses it')
        self.size = size
        self.track = track
        self.history = history
        self.classes = classes
        self.on_fault = on_fault
        self._tracks = frozenset(track)
        self._updates = Updates(self._apply)
        self._seen = torch.zeros(size, dtype=torch.int32, device="cpu")
        self._loss = _unknown(size) if "loss" in self._tracks else None
        self._p_true_mean = _unknown(size) if "p_true" in self._tracks else None
        self._p_true_squares: Tensor | None = None
        if "p_true" in self._tracks:
            self._p_true_squares = torch.zeros(size, dtype=torch.float32, device="cpu")
        self._labels: Tensor | None = None
        if classes is not None:
            shape = (size, history)
            self._labels = torch.zeros(shape, dtype=_label_dtype(classes), device="cpu")
        self._picks = PickCounts(size) if "picks" in self._tracks else None
        self._faulty_rows = torch.zeros((), dtype=torch.int64, device="cpu")

    @property
    def seen(self) -> Tensor:
        """How many updates each sample had, [N] int32. Not a copy: do not write to it."""
        self._updates.make_all()
        return self._seen

    @property
    def loss(self) -> Tensor:
        """The last loss, [N] float32, NaN where never seen. Not a copy: do not write to it."""
        return self._tracked("loss", self._loss)

    @property
    def p_true_mean(self) -> Tensor:
        """The mean of the probability of the true class over all updates, [N] float32.

        NaN where never seen. Not a copy: do not write to it.
        """
        return self._tracked("p_true", self._p_true_mean)

    @property
    def p_true_variance(self) -> Tensor:
        """The unbiased sample variance of the probability of the true class, [N] float32, a copy.

        The sum of squared deviations from the mean divided by ``seen`` - 1; NaN where a sample was
        seen less than twice. Chang et al. (2017) leave the divisor of their variance open.
        """
        squares = self._tracked("p_true", self._p_true_squares)
        return torch.where(self._seen > 1, squares / (self._seen - 1), torch.nan)

    @property
    def labels(self) -> Tensor:
        """The last predicted labels, [N, history], uint8, int16 or int32.

        A ring: update number t of a sample (from 0) is in column t % history, and the first
        min(seen, history) columns are filled. Not a copy: do not write to it.
        """
        return self._tracked("labels", self._labels)

    @property
    def picks(self) -> PickCounts:
        """How often each sample was picked; see ``PickCounts``.

        A ``Selector`` that has it as ``counts`` counts its picks; other code calls
        ``memory.picks.update(index)``. ``update`` does not count, since a sample may be seen
        without being picked.
        """
        if self._picks is None:
            raise self._untracked("picks")
        return self._picks

    @property
    def faulty_rows(self) -> int:
        """How many faulty rows were skipped so far."""
        self._updates.make_all()
        return int(self._faulty_rows)

    @property
    def nbytes(self) -> int:
        """The memory that the statistics take, in bytes."""
        tensors = list(self._tensors().values())
        if self._picks is not None:
            tensors.append(self._picks.counts)
        return sum(tensor.nbytes for tensor in tensors)

    def label_entropy(self) -> Tensor:
        """How much the last predicted labels of each sample disagree, [N] float32 in [0, 1].

        The entropy -sum_c f_c ln f_c of the share f_c that class c has among the labels kept,
        divided by ln C: the predictive uncertainty of Song et al. (2020). With fewer labels kept
        than classes it stays below 1. NaN where never seen.

        Raises:
            AttributeError: if labels are not tracked.
        """
        labels = self._tracked("labels", self._labels)
        entropy: Tensor = torch.ops.impsamp_fast.label_entropy(labels, self._seen, self.classes)
        return entropy

    def update(
        self,
        index: Tensor,
        logits: Tensor | None = None,
        target: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Remembers what one training step has shown of its samples.

        Only what is tracked is looked at: ``losses``, or else ``logits`` and ``target``, for
        "loss"; ``logits`` and ``target`` for "p_true"; ``logits`` for "labels". A sample that is
        there twice is updated twice, in order. The predicted label is the class of the largest
        logit, the lowest such class.

        Tensors on an accelerator are fetched some steps later, so that the host does not wait for
        the device; errors in their values are raised then, by a later update before it is made, and
        the update that they belong to is left out as a whole.

        Args:
            index: [n], int64 or int32, numbers of samples in the data set.
            logits: [n, C], as in :func:`~impsamp_fast.row_stats`.
            target: [n] class indices or [n, C] class probabilities, likewise. No class index is
                ignored: a row without a class has no statistics.
            losses: [n], floating point: the loss of each row as it was trained
                (``reduction="none"``). None takes the loss of
                :func:`~impsamp_fast.row_stats`, plain cross-entropy.

        Raises:
            TypeError: if a dtype or the kind of an argument does not fit.
            ValueError: if a shape does not fit, an argument that is needed is missing, a loss is
                not finite in float32, or a logit is NaN or +inf.
            IndexError: if a number is not in [0, N), or a class index out of range.

        After an error the memory is as it was. Where faults are skipped, a logit, a loss or a class
        index is none.
        """
        step = shown(
            *(index, logits, target, losses),
            wanted=self._tracks,
            classes=self.classes,
            on_fault=self.on_fault,
        )
        self._updates.add(*step)

    def state_dict(self) -> dict[str, Any]:
        """A copy of the statistics: a tensor each, ``faulty_rows`` and the state of ``picks``."""
        state: dict[str, Any] = {"faulty_rows": self.faulty_rows}
        state |= {name: value.clone() for name, value in self._tensors().items()}
        if self._picks is not None:
            state["picks"] = self._picks.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned.

        Raises:
            KeyError: if it tracks other statistics.
            TypeError: if one of them is not a tensor of the dtype that it has here.
            ValueError: if it is of a data set of another size, has another history or a label that
                is no class, or counts a negative number of updates or faulty rows.

        After an error the memory is as it was.
        """
        tensors = self._tensors()
        names = ["faulty_rows", *tensors, *(["picks"] if self._picks is not None else [])]
        if set(state) != set(names):
            raise KeyError(f"the state has the keys {sorted(state)}, expected {sorted(names)}")
        for name, tensor in tensors.items():
            _check_like(name, state[name], tensor)
        check_saved_integers(state, "faulty_rows", least=0)
        least = int(state["seen"].min())
        if least < 0:
            raise ValueError(f"the state's seen has {least}, expected at least 0")
        if self.classes is not None:
            low, high = torch.aminmax(state["labels"])
            if low < 0 or high >= self.classes:
                raise ValueError(
                    f"the state's labels are from {int(low)} to {int(high)}, but this SampleMemory "
                    f"has {self.classes} classes"
                )
        if self._picks is not None:
            self._picks.load_state_dict(state["picks"])
        self._updates.forget()
        self._faulty_rows.fill_(state["faulty_rows"])
        for name, tensor in tensors.items():
            tensor.copy_(state[name])

    def _tensors(self) -> dict[str, Tensor]:
        """The statistics that are tracked, by their names in a state."""
        tensors = {
            "seen": self._seen,
            "loss": self._loss,
            "p_true_mean": self._p_true_mean,
            "p_true_squares": self._p_true_squares,
            "labels": self._labels,
        }
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def _tracked(self, name: str, tensor: Tensor | None) -> Tensor:
        if tensor is None:
            raise self._untracked(name)
        self._updates.make_all()
        return tensor

    def _untracked(self, name: str) -> AttributeError:
        return AttributeError(
            f"this SampleMemory does not track {name!r}: make it with {name!r} in track"
        )

    def _apply(
        self, index: Tensor, losses: Tensor | None, p_true: Tensor | None, labels: Tensor | None
    ) -> None:
        """Remembers a step whose tensors are on the CPU."""
        operators: Any = torch.ops.impsamp_fast if torch.compiler.is_compiling() else _C
        operators.memory_update(
            index,
            losses,
            p_true,
            labels,
            self._seen,
            self._loss,
            self._p_true_mean,
            self._p_true_squares,
            self._labels,
            self._faulty_rows if self.on_fault == "skip" else None,
        )


def _check_like(name: str, found: Any, expected: Tensor) -> None:
    """Whether a state's tensor can take the place of one that is here."""
    if not isinstance(found, Tensor) or found.dtype != expected.dtype:
        raise TypeError(
            f"the state's {name} is {kind_of(found)}, expected a tensor of {expected.dtype}"
        )
    if found.shape != expected.shape:
        raise ValueError(
            f"the state's {name} has shape {list(found.shape)}, expected {list(expected.shape)}: "
            "make the SampleMemory with the size and history of the one that was saved"
        )


def _unknown(size: int) -> Tensor:
    return torch.full((size,), torch.nan, dtype=torch.float32, device="cpu")


def _label_dtype(classes: int) -> torch.dtype:
    """The smallest that holds the labels 0, ..., classes - 1."""
    if classes <= 1 << 8:
        return torch.uint8
    return torch.int16 if classes <= 1 << 15 else torch.int32
