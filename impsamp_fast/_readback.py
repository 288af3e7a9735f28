"""Numbers on their way from an accelerator to the host, which does not wait for them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

# Steps of which each brings a few tensors are fetched in groups of this many: fetching one makes
# the host wait for the device, which no training step should.
FETCH_TOGETHER = 64

# Copies that an Apple GPU still makes: their memory stays, whoever has lost interest in it.
_under_way: deque[tuple[torch.mps.Event, Tensor]] = deque()


class Readback:
    """A copy of a tensor to the host that is under way.

    On CUDA and Apple GPUs the copy is made in the order of the current stream, and the host learns
    by an event that it has arrived: asking for it some steps later waits for nothing. On other
    devices the value is copied when it is asked for.

    Args:
        value: any shape, any device. What is read is its value now, whatever is written to it
            later.
    """

    def __init__(self, value: Tensor) -> None:
        self._arrived: torch.cuda.Event | torch.mps.Event | None = None
        if value.is_cuda:
            self._value = torch.empty(value.shape, dtype=value.dtype, device="cpu", pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(value.device))
        elif value.is_mps:
            # Strides that differ would make it two copies, of which the host makes the second now.
            source = value.clone(memory_format=torch.contiguous_format)
            self._value = torch.empty(value.shape, dtype=value.dtype, device="cpu")
            self._value.copy_(source, non_blocking=True)
            self._arrived = torch.mps.Event()
            self._arrived.record()
            while _under_way and _under_way[0][0].query():
                _under_way.popleft()
            _under_way.append((self._arrived, self._value))
        else:
            self._value = value.clone()

    @property
    def has_arrived(self) -> bool:
        """Whether a GPU has brought it; on other devices nothing tells."""
        return self._arrived is None or bool(self._arrived.query())

    def get(self) -> Tensor:
        """The value, on the CPU; waits for it if need be."""
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        return self._value.cpu()


class Backlog:
    """What steps on an accelerator have shown, taken to the host in groups of ``together`` steps.

    A group is due when the next one is complete: by then a GPU has brought it over, and elsewhere
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


class Updates:
    """Updates of what is kept on the CPU: made at once from there, else some steps later.

    An update that is wrong is left out as a whole. If it came from an accelerator its error is
    raised later, and names the update by its number since the beginning, from 0.

    Args:
        apply: makes an update of tensors on the CPU; it raises before it has changed anything.
            Another may take its place.
    """

    def __init__(self, apply: Callable[..., None]) -> None:
        self.apply = apply
        self._backlog = Backlog(FETCH_TOGETHER)
        self._made = 0  # updates that no longer wait

    def add(self, *values: Tensor | None) -> None:
        """Makes an update, in the order of all of them.

        Errors of earlier updates come before anything is done: after one, this update has to be
        added again.
        """
        if all(value is None or value.is_cpu for value in values):
            self.make_all()
            self.apply(*values)
            self._made += 1
        else:
            self.make_due()
            self._backlog.add(*values)

    def make_due(self) -> None:
        """Makes those for which the host need not wait."""
        self._make(self._backlog.due())

    def make_all(self) -> None:
        """Makes those that wait."""
        self._make(self._backlog.everything())

    def forget(self) -> None:
        """Drops those that wait, and counts from 0."""
        self._backlog.clear()
        self._made = 0

    def _make(self, updates: Iterable[list[Tensor | None]]) -> None:
        for values in updates:
            self._made += 1
            try:
                self.apply(*values)
            except (ValueError, IndexError) as error:
                raise type(error)(f"in update {self._made - 1}: {error}") from error


class Tally:
    """A number of rows that grows on any device; the host waits for it only to read it."""

    def __init__(self) -> None:
        self._known = 0
        self._growing: Tensor | None = None

    def add(self, count: Tensor) -> None:
        """Adds a scalar of integers, as it is now."""
        if self._growing is not None and self._growing.device == count.device:
            self._growing = self._growing + count
            return
        self._known = self.read()
        self._growing = count.to(torch.int64, copy=True)

    def read(self) -> int:
        """The number; waits for the device."""
        return self._known + (0 if self._growing is None else int(self._growing))

    def set(self, number: int) -> None:
        """Goes on from this number."""
        self._known = number
        self._growing = None
