"""A number for each sample, on the device of the rows."""

from typing import Any

import torch
from torch import Tensor

from impsamp_fast._checks import check_index_form, check_integer, check_range, kind_of


class SampleTable:
    """A number for each sample of the data set, 4 bytes each; NaN until it is known.

    Args:
        size: N; None grows with the largest number, for which an accelerator is waited for.
    """

    def __init__(self, size: int | None) -> None:
        if size is not None:
            size = check_integer("size", size, 1)
        self._size = size
        self._values = torch.full((size or 0,), torch.nan, dtype=torch.float32, device="cpu")

    def at(self, index: Tensor) -> Tensor:
        """The numbers of samples [K], float32."""
        return self._there(index)[index]

    def put(self, index: Tensor, values: Tensor, known: Tensor) -> None:
        """Takes in the numbers of the samples for which ``known`` [K] bool is true."""
        there = self._there(index)
        there[index] = torch.where(known, values.to(there.dtype), there[index])

    def _there(self, index: Tensor) -> Tensor:
        """The table on the device of an index that fits."""
        check_index_form(index)
        if self._size is None and index.numel():
            missing = int(index.max()) + 1 - len(self._values)
            if missing > 0:
                room = self._values.new_full((missing,), torch.nan)
                self._values = torch.cat([self._values, room])
        if index.is_cpu:
            check_range(index, len(self._values))
        if self._values.device != index.device:
            self._values = self._values.to(index.device)
        return self._values

    def state(self) -> Tensor:
        """A copy on the CPU."""
        return self._values.to("cpu", copy=True)

    def check(self, state: Any) -> None:
        """Whether a state fits (TypeError, ValueError)."""
        if not isinstance(state, Tensor) or state.dtype != torch.float32 or state.dim() != 1:
            raise TypeError(f"the state's table is {kind_of(state)}, expected [N] float32")
        if self._size is not None and len(state) != self._size:
            raise ValueError(
                f"the state's table is of {len(state)} samples, expected {self._size}: make the "
                "score with the size of the one that was saved"
            )

    def load(self, state: Tensor) -> None:
        """Continues from a state that was checked."""
        self._values = state.to(self._values.device, copy=True)
