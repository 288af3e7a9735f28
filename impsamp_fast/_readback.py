"""Numbers on their way from an accelerator to the host, which does not wait for them."""

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

# Steps of which each brings a few tensors are fetched in groups of this many: fetching one makes
# the host wait for the device, which no training step should.
FETCH_TOGETHER = 64


class Readback:
    """A copy of a tensor to the host that is under way.

    On CUDA the copy goes to pinned memory, in the order of the current stream, and the host learns
    by an event that it has arrived: whoever asks for it some steps later does not wait. On other
    devices the value is copied when it is asked for.

    Args:
        value: any shape, any device. What is read is its value now, whatever is written to it
            later.
    """

    def __init__(self, value: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if value.is_cuda:
            self._value = torch.empty(value.shape, dtype=value.dtype, device="cpu", pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(value.device))
        else:
            self._value = value.clone()

    def get(self) -> Tensor:
        """The value, on the CPU; waits for it if need be."""
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        return self._value.cpu()


class Backlog:
    """What steps on an accelerator have shown, taken to the host in groups of ``together`` steps.

    A group is due when the next one is complete: by then CUDA has brought it over, and elsewhere
    the host waits once for a whole group.

    Args:
        together: steps per group.
    """

    def __init__(self, together: int) -> None:
        self.together = together
        self._steps: deque[list[Readback | None]] = deque()

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, *values: Tensor | None) -> None:
        """Takes in a step's tensors as they are now."""
        self._steps.append([None if value is None else Readback(value) for value in values])

    def due(self) -> Iterator[list[Tensor | None]]:
        """The steps of a group that is due, oldest first, each taken out as it comes."""
        return self._take(self.together if len(self._steps) >= 2 * self.together else 0)

    def everything(self) -> Iterator[list[Tensor | None]]:
        """All steps, oldest first, each taken out as it comes; waits for the device."""
        return self._take(len(self._steps))

    def clear(self) -> None:
        """Drops all steps."""
        self._steps.clear()

    def _take(self, count: int) -> Iterator[list[Tensor | None]]:
        for _ in range(count):
            # Out of the backlog first: a step that its taker rejects must not come back for ever.
            step = self._steps.popleft()
            yield [None if value is None else value.get() for value in step]
