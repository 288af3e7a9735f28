"""Selections that failed on an accelerator, found out some steps later, when nobody has to wait."""

from collections import deque
from collections.abc import Callable

from torch import Tensor

from impsamp_fast._readback import Backlog

# Steps whose statuses are looked at together.
_TOGETHER = 16


class StatusWatch:
    """The statuses of the last steps."""

    def __init__(self) -> None:
        self._statuses = Backlog(_TOGETHER)
        self._steps: deque[tuple[int, Callable[[int], Exception]]] = deque()

    def add(
        self, step: int, status: Tensor | None, explain: Callable[[int], Exception] | None
    ) -> None:
        """Watches a step.

        Args:
            step: its number.
            status: int64 scalar, 0 if all went well. None, or a tensor on the CPU, where what went
                wrong has been raised, is not watched.
            explain: the error for a status, given when ``status`` is watched.
        """
        if status is None or explain is None or status.is_cpu:
            return
        self._statuses.add(status)
        self._steps.append((step, explain))

    def look(self) -> None:
        """Raises the error of the first of some earlier steps that failed, once there is one."""
        for (status,) in self._statuses.due():
            step, explain = self._steps.popleft()
            assert status is not None
            if status:
                error = explain(int(status))
                raise type(error)(f"in step {step}: {error}") from error
