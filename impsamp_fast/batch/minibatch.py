"""Raw batches in, mini-batches out: what all ways to choose rows have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from impsamp_fast._checks import check_integer, check_losses
from impsamp_fast.batch._nested import check_rows
from impsamp_fast.batch.start import StartRule
from impsamp_fast.dataset.pick_counts import PickCounts


@dataclass(slots=True, eq=False)
class MiniBatch:
    """The rows to train on.

    Attributes:
        x: the picked rows of the large batch's ``x``, in the same structure; a mapping of any kind
            comes back as a dict.
        y: the picked rows of ``y``, [n] or [n, C].
        weight: [n], the weight of each row's loss: float32, whatever torch's default dtype; float64
            only where the rows were drawn by importance from float64 logits.
        index: [n]: the samples' numbers in the data set when ``index`` was given to the selector,
            else the rows of the large batch, int64; from a queue, the rows' numbers in the order of
            all its raw batches.
        importance: whether the rows were drawn by importance, or uniformly; from a queue, whether
            those of its last raw batch were chosen.
    """

    x: Any
    y: Tensor
    weight: Tensor
    index: Tensor
    importance: bool
    _listener: StartRule | None = field(default=None, repr=False)

    def mean(self, losses: Tensor) -> Tensor:
        """The mean of ``weight * losses``: the loss to call ``backward`` on.

        With correction "unbiased" and any method but "topk", it estimates the sum of the losses of
        the large batch divided by K, the number of all its rows. That is what
        ``F.cross_entropy(...)`` of the large batch returns, unless class indices meet an
        ``ignore_index`` or a ``class_weight``: its own mean then divides by the number of rows that
        are not ignored, or by the sum of the class weights of their targets.

        A start rule that learns from the loss hears it here, the first time that this mini-batch's
        mean is taken.

        Args:
            losses: [n], any floating dtype, the loss of each row (``reduction="none"``). Half
                precision is added up in the dtype of ``weight``.

        Returns:
            A scalar, differentiable in ``losses``.

        Raises:
            TypeError: if ``losses`` is not a floating-point tensor.
            ValueError: if it is not of shape [n].
        """
        check_losses(losses, self.weight.shape[0])
        loss = (losses * self.weight).mean()
        if self._listener is not None:
            self._listener.learn(loss.detach())
            self._listener = None
        return loss


class BatchStrategy(ABC):
    """Turns raw batches into the mini-batches to train on.

    A :class:`~impsamp_fast.Selector` makes one of each raw batch; an
    :class:`~impsamp_fast.Accumulator` may need several. The loop that serves both is::

        for batch in strategy.batches(loader):
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            loss = batch.mean(losses)
    """

    @property
    @abstractmethod
    def raw_size(self) -> int | None:
        """How many rows the next raw batch should have; None leaves it to the caller."""

    @abstractmethod
    def __call__(self, x: Any, y: Tensor, index: Tensor | None = None) -> MiniBatch | None:
        """Takes a raw batch; the mini-batch, or None while there are too few rows for one.

        Args:
            x: a tensor [K, ...], or a tuple, list, named tuple or mapping of such, nested as you
                like. A mapping of any kind comes back as a dict.
            y: [K] class indices, or [K, C] class probabilities.
            index: [K], int64 or int32: the samples' numbers in the data set.
        """

    @abstractmethod
    def batches(self, loader: Iterable[Any]) -> Iterator[MiniBatch]:
        """Every full mini-batch of a loader's raw batches, ``(x, y)`` or ``(x, y, index)`` each.

        A raw batch is asked for, and scored, when its mini-batch is: after the training step of
        the one before.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the next picks depend on, except for the model."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned; after an error all is as it was."""


def check_parts(
    model: nn.Module, n: int, start: StartRule | None, class_weight: Tensor | None
) -> int:
    """Checks the arguments that all constructors have (TypeError, ValueError); n as an int."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {type(model).__name__}, expected an nn.Module")
    if start is not None and not isinstance(start, StartRule):
        raise TypeError(f"start is {start!r}, expected a start rule such as Always() or After(100)")
    if class_weight is not None and not isinstance(class_weight, Tensor):
        raise TypeError(f"class_weight is {class_weight!r}, expected a tensor or None")
    return check_integer("n", n, 1)


def check_batch(x: Any, y: Tensor, index: Tensor | None) -> int:
    """The number of rows K of a raw batch, once all of its parts agree on it."""
    if not isinstance(y, Tensor):
        raise TypeError(f"y is {type(y).__name__}, expected a tensor")
    if y.dim() == 0:
        raise ValueError("y is a scalar, expected a tensor whose first dimension is the rows")
    K = y.shape[0]
    check_rows("x", x, K)
    if index is not None:
        if not isinstance(index, Tensor):
            raise TypeError(f"index is {type(index).__name__}, expected a tensor")
        if index.shape != (K,):
            raise ValueError(f"index has shape {list(index.shape)}, expected [{K}], as y has")
        if index.device != y.device:
            raise ValueError(f"index is on {index.device}, but y is on {y.device}")
    return K


def unpack(item: Any) -> tuple[Any, Tensor, Tensor | None]:
    """The x, y and index of what a loader yields."""
    if not isinstance(item, tuple | list):
        raise TypeError(
            f"the loader yields {type(item).__name__}, expected (x, y) or (x, y, index): call the "
            "strategy yourself for each of its batches"
        )
    if len(item) == 2:
        return item[0], item[1], None
    if len(item) == 3:
        return item[0], item[1], item[2]
    raise ValueError(f"the loader yields {len(item)} values, expected (x, y) or (x, y, index)")


def load_rule_and_counts(
    owner: str, rule: StartRule, counts: PickCounts | None, state: Mapping[str, Any]
) -> None:
    """Loads ``state["start"]`` and ``state["counts"]``, both or neither."""
    if (state["counts"] is None) != (counts is None):
        have, lack = ("the state", f"this {owner}")
        if state["counts"] is None:
            have, lack = lack, have
        raise ValueError(
            f"{have} counts picks and {lack} does not: make the {owner} with the same counts= as "
            "the one that was saved"
        )
    before = rule.state_dict()
    rule.load_state_dict(state["start"])
    if counts is not None:
        try:
            counts.load_state_dict(state["counts"])
        except Exception:
            rule.load_state_dict(before)
            raise


def check_seed_and_step(state: Mapping[str, Any], *counts: str) -> None:
    """Checks the ``seed``, the ``step`` and further counts of a saved state."""
    for name in ("seed", "step", *counts):
        if not isinstance(state[name], int):
            raise TypeError(f"the state's {name} is {state[name]!r}, expected an int")
        if name != "seed" and state[name] < 0:
            raise ValueError(f"the state's {name} is {state[name]}, expected at least 0")
