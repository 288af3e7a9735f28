"""What samplers learn from, and a memory for those whose tables hold what they have learned."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, final, get_args

from torch import Tensor

from impsamp_fast._checks import check_choice, check_index, check_saved_integers
from impsamp_fast._faults import OnFault
from impsamp_fast._readback import Updates
from impsamp_fast.dataset._step import shown, statistic


class Memory(Protocol):
    """What training steps are told to: a :class:`~impsamp_fast.SampleMemory`, or what acts like it.

    Its ``state_dict`` comes before the sampler's tables are looked at, its ``load_state_dict``
    before they are written.
    """

    on_fault: OnFault
    _updates: Updates

    @property
    def faulty_rows(self) -> int:
        """How many faulty rows were skipped so far."""

    def update(
        self,
        index: Tensor,
        logits: Tensor | None = None,
        target: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Learns from a training step."""

    def state_dict(self) -> dict[str, Any]:
        """What it needs to go on."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from such a state."""


@final
class Feedback:
    """A memory that hands a statistic of the rows to a function.

    At once on the CPU, elsewhere some steps later.

    Args:
        size: the number of samples in the data set.
        statistic: its name in :class:`~impsamp_fast.RowStats`; for "loss" the losses of a step are
            taken where they are told.
        learn: called with an index [n] int64 and finite values [n], both on the CPU.
        on_fault: see :class:`~impsamp_fast.SampleMemory`.
    """

    def __init__(
        self,
        size: int,
        statistic: str,
        learn: Callable[[Tensor, Tensor], None],
        on_fault: OnFault,
    ) -> None:
        check_choice("on_fault", on_fault, get_args(OnFault))
        self.on_fault = on_fault
        self._size = size
        self._statistic = statistic
        self._learn = learn
        self._updates = Updates(self._apply)
        self._faulty_rows = 0

    @property
    def faulty_rows(self) -> int:
        """How many faulty rows were skipped so far."""
        self.fetch()
        return self._faulty_rows

    def update(
        self,
        index: Tensor,
        logits: Tensor | None = None,
        target: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Takes in a step; an index elsewhere is checked when it is fetched."""
        value = self._shown(index, logits, target, losses)
        self._updates.add(check_index(index, self._size) if index.is_cpu else index, value)

    def fetch(self) -> None:
        """Hands over what waits."""
        self._updates.make_all()

    def state_dict(self) -> dict[str, Any]:
        """The number of faulty rows; what waits is handed over first."""
        return {"faulty_rows": self.faulty_rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned; drops what waits."""
        if set(state) != {"faulty_rows"}:
            raise KeyError(f"the state has the keys {sorted(state)}, expected ['faulty_rows']")
        check_saved_integers(state, "faulty_rows", least=0)
        self._updates.forget()
        self._faulty_rows = state["faulty_rows"]

    def _shown(
        self,
        index: Tensor,
        logits: Tensor | None,
        target: Tensor | None,
        losses: Tensor | None,
    ) -> Tensor:
        if self._statistic != "loss":
            return statistic(self._statistic, index, logits, target, self.on_fault)
        step = shown(
            *(index, logits, target, losses),
            wanted=("loss",),
            classes=None,
            on_fault=self.on_fault,
        )
        assert step.losses is not None
        return step.losses

    def _apply(self, index: Tensor, value: Tensor) -> None:
        index = check_index(index, self._size)
        faulty = ~value.isfinite()
        if not faulty.any():
            self._learn(index, value)
            return
        if self.on_fault == "raise":
            row = int(faulty.nonzero()[0])
            raise ValueError(
                f"row {row}, of sample {int(index[row])}, has a logit that is NaN or +inf, no "
                "finite logit, a target that cannot be, or a loss that is not finite"
            )
        self._learn(index[~faulty], value[~faulty])
        self._faulty_rows += int(faulty.sum())
