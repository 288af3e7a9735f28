"""The loss that is trained, as far as scoring must know it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impsamp_fast._checks import to_integer, to_number

# An ignore_index that no target has, for torch's cross entropy, which takes no None.
_NO_CLASS = -(1 << 63)


class TrainedLoss:
    """The options of the loss that is trained, as the operators take them.

    Args:
        label_smoothing: see :func:`~impsamp_fast.row_stats`.
        class_weight: likewise, [C] or None.
        ignore_index: likewise; None ignores no row.

    Raises:
        TypeError: if ``label_smoothing`` is no number, ``class_weight`` no tensor or
            ``ignore_index`` no integer.
    """

    def __init__(
        self, label_smoothing: float, class_weight: Tensor | None, ignore_index: int | None
    ) -> None:
        if class_weight is not None and not isinstance(class_weight, Tensor):
            raise TypeError(f"class_weight is {class_weight!r}, expected a tensor or None")
        if ignore_index is not None:
            ignore_index = to_integer("ignore_index", ignore_index, "an integer or None")
        self.label_smoothing = to_number("label_smoothing", label_smoothing)
        self.class_weight = class_weight
        self.ignore_index = ignore_index
        self._weight_there = class_weight  # on the device of the last batch

    def options(self, device: torch.device) -> dict[str, Any]:
        """The keyword arguments of an operator for tensors on this device."""
        return {
            "label_smoothing": self.label_smoothing,
            "class_weight": self.class_weight_on(device),
            "ignore_index": self.ignore_index,
        }

    def class_weight_on(self, device: torch.device) -> Tensor | None:
        """The class weights on a device; copying them there takes the host's time only once."""
        if self._weight_there is not None and self._weight_there.device != device:
            self._weight_there = self._weight_there.to(device)
        return self._weight_there

    def ignored(self, y: Tensor) -> Tensor | None:
        """Which rows have no target, [K] bool; None where all have one.

        Only a class index can be ignored: class probabilities and the floating-point targets of a
        regression cannot.
        """
        if self.ignore_index is None or y.dim() != 1 or y.is_floating_point():
            return None
        return y == self.ignore_index

    def ignores_all(self, y: Tensor) -> bool:
        """Whether no row has a target. An accelerator would have to be waited for: False there."""
        ignored = self.ignored(y) if y.is_cpu else None
        return ignored is not None and bool(ignored.all())

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """The cross entropy of each row, [K]."""
        options = self.options(logits.device)
        weight = options.pop("class_weight")
        if self.ignore_index is None:
            options["ignore_index"] = _NO_CLASS
        return F.cross_entropy(logits, y, weight=weight, reduction="none", **options)

    def example(self) -> tuple[Tensor, Tensor]:
        """A row of logits and its target: an operator tells by them whether the options fit."""
        classes = 2 if self.class_weight is None else self.class_weight.numel()
        device = "cpu" if self.class_weight is None else self.class_weight.device
        y = torch.tensor([int(self.ignore_index == 0)], device=device)
        return torch.zeros(1, classes, device=device), y


class WithTrainedLoss:
    """A part that is made with the options of the loss; they are read only."""

    _loss: TrainedLoss

    @property
    def label_smoothing(self) -> float:
        """As in the loss that is trained."""
        return self._loss.label_smoothing

    @property
    def class_weight(self) -> Tensor | None:
        """As in the loss that is trained, [C]."""
        return self._loss.class_weight

    @property
    def ignore_index(self) -> int | None:
        """The class index of rows without a target; None ignores no row."""
        return self._loss.ignore_index
