"""How the ranks of a process group share out the epochs of a sampler, and what they learn."""

from typing import final

from impsamp_fast._seeds import rank_here, world_size_here
from impsamp_fast.dataset._feedback import Memory
from impsamp_fast.dataset._shared import SharedUpdates


@final
class Shares:
    """This rank's share of each epoch, and the updates that wait for those of the other ranks."""

    def __init__(self) -> None:
        self._place: tuple[int, int] | None = None  # rank and world_size that were given
        self._learns_alone = False
        self._updates: SharedUpdates | None = None

    def place(self, rank: int, world_size: int, alone: bool) -> None:
        """Says which share is handed out here, and whether what is learned here stays here."""
        self._place = rank, world_size
        self._learns_alone = alone

    @property
    def here(self) -> tuple[int, int]:
        """The number of the share that is handed out here, and how many there are."""
        return self._place or (rank_here(), world_size_here())

    def of(self, length: int) -> int:
        """How many indices of an epoch are handed out here."""
        return -(-length // self.here[1])

    @property
    def training_ranks(self) -> int:
        """How many ranks train on an epoch's samples, whoever hands them out."""
        size = self.here[1]
        return size if self._learns_alone else max(size, world_size_here())

    @property
    def learn_together(self) -> bool:
        """Whether other ranks train on other samples."""
        return self.training_ranks > 1 and not self._learns_alone

    def updates_of(self, memory: Memory) -> SharedUpdates:
        """Those of a memory, which are kept from the first call on until they are exchanged."""
        if self._updates is None:
            self._updates = SharedUpdates(memory._updates)
        return self._updates

    def forget(self) -> None:
        """Drops the updates that are kept."""
        if self._updates is not None:
            self._updates.forget()

    def check_exchanged(self, before: str) -> None:
        """RuntimeError if updates wait to be exchanged."""
        waiting = 0 if self._updates is None else self._updates.count
        if waiting:
            raise RuntimeError(
                f"{waiting} updates of this rank are not shared yet: call sync() on all "
                f"ranks, after each step or at the end of an epoch, before {before}"
            )
