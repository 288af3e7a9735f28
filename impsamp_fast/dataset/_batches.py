"""What a loader takes of a sampler: its indices, or lists of them, and their state."""

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, final

from torch.utils.data import BatchSampler


class _Stateful(Protocol):
    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None: ...


class _Source(_Stateful, Protocol):
    """A sampler."""

    def _state_then(self) -> "StateThen": ...


@final
class StateThen:
    """The state at a position that training has not come to yet, made when it is saved or loaded.

    A loader with worker processes asks for a state with each batch that it asks for. By the time
    that one of them is saved, the sampler has learned from the steps in between; and all others
    cost nothing.

    Args:
        sampler: whose state it is.
        epoch: of the position.
        position: in that epoch.
    """

    def __init__(self, sampler: Any, epoch: int, position: int) -> None:
        self._sampler = sampler
        self._epoch = epoch
        self._position = position

    def make(self) -> dict[str, Any]:
        """The state, once training is there.

        Raises:
            RuntimeError: if the epoch is over.
        """
        state: dict[str, Any] = self._sampler._state_at(self._epoch, self._position)
        return state

    def __reduce__(self) -> tuple[Any, ...]:
        # What torch.load takes with weights_only.
        return OrderedDict, (), None, None, iter(self.make().items())


@final
class Indices(itertools.chain[int]):
    """A sampler's indices, with a state for torchdata's ``StatefulDataLoader(sampler=...)``.

    It is a chain, and not a class with a ``__next__``, so that an index takes no call in Python.
    """

    sampler: _Source

    @classmethod
    def of(cls, sampler: _Source, indices: Iterator[int]) -> "Indices":
        """Those that an iterator of the sampler yields."""
        made = cls(indices)
        made.sampler = sampler
        return made

    def state_dict(self) -> StateThen:
        """The sampler's, as of this position."""
        return self.sampler._state_then()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads it into the sampler."""
        self.sampler.load_state_dict(state)


@final
class Batches(BatchSampler):
    """Lists of a sampler's indices, whose state is the sampler's."""

    sampler: Any

    def state_dict(self) -> StateThen:
        """The sampler's, as of this position."""
        then: StateThen = self.sampler._state_then()
        return then

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads it into the sampler."""
        self.sampler.load_state_dict(state)
