"""What training steps on an accelerator have shown, until it is fetched."""

from collections.abc import Callable
from typing import final

from torch import Tensor

from impsamp_fast._checks import check_index
from impsamp_fast._readback import Updates
from impsamp_fast.ops import RowStats, row_stats


@final
class Waiting:
    """Hands pairs of indices and values to a function: at once on the CPU, else some steps later.

    A value that is not finite marks a faulty row, for which a step is left out as a whole.

    Args:
        size: the number of samples in the data set.
        apply: called with an index [n] int64 that was checked and values [n], both on the CPU.
    """

    def __init__(self, size: int, apply: Callable[[Tensor, Tensor], None]) -> None:
        self._size = size
        self._apply = apply
        self._updates = Updates(self._checked)

    def add(self, index: Tensor, value: Tensor) -> None:
        """Takes in a step; an index on an accelerator is checked when it is fetched."""
        self._updates.add(check_index(index, self._size) if index.is_cpu else index, value)

    def fetch(self) -> None:
        """Applies what waits."""
        self._updates.make_all()

    def forget(self) -> None:
        """Drops what waits."""
        self._updates.forget()

    def _checked(self, index: Tensor, value: Tensor) -> None:
        index = check_index(index, self._size)
        finite = value.isfinite()
        if not finite.all():
            row = int((~finite).nonzero()[0])
            raise ValueError(
                f"row {row}, of sample {int(index[row])}, has a logit that is NaN or +inf, no "
                "finite logit, or a target that cannot be"
            )
        self._apply(index, value)


def statistics(index: Tensor, logits: Tensor | None, target: Tensor | None) -> RowStats:
    """The statistics of a step's rows; an error if there is not one for each index."""
    if not isinstance(index, Tensor):
        raise TypeError(f"index is {type(index).__name__}, expected an int64 or int32 tensor")
    for name, value in (("logits", logits), ("target", target)):
        if value is None:
            raise ValueError(f"{name} is None, but is needed here")
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is {type(value).__name__}, expected a tensor")
        if value.dim() == 0 or value.shape[:1] != index.shape:
            raise ValueError(
                f"{name} has shape {list(value.shape)}, but index has {list(index.shape)}: "
                "expected a row for each index"
            )
    assert logits is not None
    assert target is not None
    return row_stats(logits, target, ignore_index=None)
