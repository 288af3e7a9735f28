"""How often each sample of the data set was picked."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_range, to_integer
from impsamp_fast._readback import Updates
from impsamp_fast._settings import ShowsSettings


class PickCounts(ShowsSettings):
    """How often each sample of the data set was picked: its importance over a training run.

    The measure of Knutsson et al. (2023): counts, not summed scores. Give it to a ``Selector`` as
    ``counts``, or call ``update`` yourself.

    Args:
        size: the number of samples in the data set, at least 1.

    Raises:
        TypeError: if ``size`` is not an integer.
        ValueError: if ``size`` is less than 1.
    """

    def __init__(self, size: int) -> None:
        size = check_integer("size", size, 1)
        self.size = size
        self._counts = torch.zeros(size, dtype=torch.int64, device="cpu")
        self._updates = Updates(self._add)

    @property
    def counts(self) -> Tensor:
        """The picks of each sample, [size] int64, on the CPU. Not a copy: do not write to it."""
        self._updates.make_all()
        return self._counts

    def update(self, index: Tensor) -> None:
        """Counts the samples of one mini-batch; a sample that is there twice counts twice.

        An index on an accelerator is fetched later, together with others. Its errors are raised
        then, by a later ``update`` before it counts anything.

        Args:
            index: [n], int64 or int32, numbers of samples in the data set.

        Raises:
            TypeError: if ``index`` is not an integer tensor.
            ValueError: if it does not have one dimension.
            IndexError: if a number is not in [0, size); then nothing of ``index`` is counted.
        """
        _check_integers("index is", index)
        if index.dim() != 1:
            raise ValueError(f"index has shape {list(index.shape)}, expected one dimension")
        if index.is_cpu:  # those that wait may come later, since the order of counting is nothing
            self._add(index)
        else:
            self._updates.add(index)

    def look(self) -> None:
        """Raises the error of an earlier ``update`` from an accelerator, if it is known by now."""
        self._updates.make_due()

    def most(self, k: int) -> Tensor:
        """The k most picked samples, [k] int64, most picked first, ties to the lower number.

        Raises:
            TypeError: if k is not an integer.
            ValueError: if k is not in [0, size].
        """
        return self._ranked(k, descending=True)

    def least(self, k: int) -> Tensor:
        """The k least picked samples, [k] int64, least picked first, ties to the lower number.

        Raises:
            TypeError: if k is not an integer.
            ValueError: if k is not in [0, size].
        """
        return self._ranked(k, descending=False)

    def state_dict(self) -> dict[str, Any]:
        """A copy of the counts."""
        return {"counts": self.counts.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned.

        Raises:
            KeyError: if it has no counts.
            TypeError: if they are not an int64 or int32 tensor.
            ValueError: if they are of a data set of another size.
        """
        if "counts" not in state:
            raise KeyError(f"the state has the keys {sorted(state)}, expected ['counts']")
        counts = state["counts"]
        _check_integers("the state's counts are", counts)
        if counts.shape != (self.size,):
            raise ValueError(
                f"the state counts {list(counts.shape)} samples, but this PickCounts has size "
                f"{self.size}: make it with the size of the data set that was saved"
            )
        self._updates.forget()
        self._counts = counts.to("cpu", torch.int64, copy=True)

    def _ranked(self, k: int, *, descending: bool) -> Tensor:
        k = to_integer("k", k)
        if not 0 <= k <= self.size:
            raise ValueError(f"k is {k}, expected 0 <= k <= {self.size}, the size of the data set")
        return self.counts.argsort(descending=descending, stable=True)[:k]

    def _add(self, index: Tensor) -> None:
        check_range(index, self.size)
        self._counts.index_add_(0, index, torch.ones_like(index, dtype=torch.int64))


def _check_integers(subject: str, value: Any) -> None:
    if not isinstance(value, Tensor) or value.dtype not in (torch.int64, torch.int32):
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{subject} {kind}, expected an int64 or int32 tensor")
