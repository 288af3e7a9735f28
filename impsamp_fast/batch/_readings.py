"""The numbers that start rules learn from."""

from collections.abc import Iterable

import torch
from torch import Tensor

from impsamp_fast._readback import Backlog

# Reading a number makes the host wait for an accelerator, so the numbers are read in groups of
# this size, when the next group is complete.
_READ_TOGETHER = 16


class Readings:
    """The values of scalar tensors: at once on the CPU, in groups on an accelerator."""

    def __init__(self, unread: list[float] | None = None) -> None:
        self._backlog = Backlog(_READ_TOGETHER)
        self._put_back(unread or [])

    def take(self, value: Tensor) -> list[float]:
        """Takes in a scalar; the values, oldest first, that are due now."""
        if _is_read_at_once(value):
            return [*_numbers(self._backlog.everything()), value.item()]
        self._backlog.add(value)
        return _numbers(self._backlog.due())

    def unread(self) -> list[float]:
        """The values that are not due yet, without making them due: saving changes no decision."""
        values = _numbers(self._backlog.everything())
        self._put_back(values)
        return values

    def _put_back(self, values: list[float]) -> None:
        for value in values:
            self._backlog.add(torch.tensor(value, dtype=torch.float64))


def _is_read_at_once(value: Tensor) -> bool:
    return value.device.type == "cpu"


def _numbers(steps: Iterable[list[Tensor | None]]) -> list[float]:
    return [value.item() for (value,) in steps if value is not None]
