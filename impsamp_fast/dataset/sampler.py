"""What all samplers of the data set have in common: epochs, blocks, and a state."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Sampler

from impsamp_fast._checks import check_index, check_integer, check_losses
from impsamp_fast._faults import OnFault
from impsamp_fast._seeds import seed_of_run, seed_of_step
from impsamp_fast._settings import ShowsSettings
from impsamp_fast._uniform import uniform_rows
from impsamp_fast.dataset._batches import Batches, Indices, StateThen
from impsamp_fast.dataset._epochs import Epochs, Pass
from impsamp_fast.dataset._feedback import Memory
from impsamp_fast.dataset._shares import Shares
from impsamp_fast.dataset._state import (
    check_state,
    look_for_asking_ahead,
    pass_of,
    position_to_save,
)
from impsamp_fast.distributed._ranks import Ranks

_Sampler = TypeVar("_Sampler", bound="DatasetSampler")

# The seeds' steps are numbered by epoch and position, so that an epoch's draws do not depend on
# which epochs were run before it. No epoch is longer.
_STEPS_PER_EPOCH = 1 << 32


class DatasetSampler(ShowsSettings, Sampler[int], ABC):
    """Chooses the samples of each epoch by what training has shown about them so far.

    A sampler is given to a ``DataLoader`` as ``sampler=``, or ``sampler.batches(n)`` as
    ``batch_sampler=``; the data set hands out the samples' numbers, see
    :class:`~impsamp_fast.dataset.WithIndex`; and each training step tells the sampler what it
    found::

        sampler = OnlineBatchSelection(len(data), epochs=20)
        loader = DataLoader(WithIndex(data), batch_size=128, sampler=sampler)
        for epoch in range(20):
            sampler.set_epoch(epoch)
            for x, y, index in loader:
                logits = model(x)
                losses = F.cross_entropy(logits, y, reduction="none")
                sampler.mean(losses, index).backward()
                ...
                sampler.update(index, logits, y, losses=losses)

    The indices are drawn in blocks, each from what is known when its first index is asked for; a
    loader with worker processes asks ahead. The sampler itself stays in the main process, also with
    persistent workers.

    What is remembered of a sample goes by its number, whatever the augmentation made of it. Smedås
    (2021) names the caveat: a sample is chosen for one view and trained on in another.

    Which indices are drawn depends on the seed, the epoch's number, the position in the epoch and
    what is remembered. The block that begins at position i of epoch e is drawn with the seed
    (seed + (e * 2^32 + i) * 0x9E3779B97F4A7C15) mod 2^64; torch's random state is left alone.

    Each pass over the sampler is a new epoch, except after a pass that was broken off before
    anything was trained on (before ``update``, ``weight`` or ``mean``), as by a look at one
    mini-batch: that epoch begins again with the same indices. A loader whose workers ask for the
    whole epoch at once uses it up even so. ``set_epoch`` gives the next pass a number of its own,
    and changes nothing if that is the pass under way, so that it may come before or after
    ``iter(loader)``.

    The ranks of a process group draw the same epoch, and each hands out a share of it: every
    ``world_size``-th index from its rank on, as torch's ``DistributedSampler`` does, and as many on
    all ranks, for which the last indices may be given to more than one. All must have the same
    seed, and the same memory: what a rank's training shows is kept until ``sync`` shares it.

    A sampler of your own derives from this class (or from
    :class:`~impsamp_fast.dataset.WeightedSampler`) and says how long an epoch is and how a block
    of it is drawn.

    Args:
        size: N, the number of samples in the data set, at least 1.
        seed: of the draws, an integer in [-2^63, 2^64). None takes one from torch's default
            generator now, so that ``torch.manual_seed`` decides.
        memory: what ``update`` writes to, a :class:`~impsamp_fast.SampleMemory`; None for a sampler
            that has its own ``update``, which then calls ``note_training``.

    Attributes:
        tables: the tensors [N] that a sampler keeps besides its memory: their names, with dtype and
            first value. They are in ``self._tables`` and are part of the state.
    """

    tables: ClassVar[Mapping[str, tuple[torch.dtype, float]]] = {}

    def __init__(self, size: int, *, seed: int | None = None, memory: Memory | None = None) -> None:
        size = check_integer("size", size, 1)
        self.size = size
        self.seed = seed
        self.memory = memory
        self._seed = seed_of_run(seed)
        self._tables = {
            name: torch.full((size,), first, dtype=dtype, device="cpu")
            for name, (dtype, first) in self.tables.items()
        }
        self._epochs = Epochs()
        self._shares = Shares()
        self._has_warned = False
        self._has_stateful_loader = False

    def shard(self: _Sampler, rank: int, world_size: int, *, alone: bool = False) -> _Sampler:
        """Says which share of each epoch is handed out here; returns the sampler itself.

        Without it the rank and size of torch's default process group do. ``shard(0, 1)`` is for a
        trainer that shares out the indices of a sampler itself; the ranks then call ``sync`` as
        they do otherwise, at the end of an epoch.

        Args:
            rank: whose share it is.
            world_size: how many shares there are.
            alone: whether this process learns from its own steps only, at once, and ``sync`` does
                nothing: for ranks that all train on the same samples.

        Raises:
            TypeError: if a number is no integer.
            ValueError: unless 0 <= rank < world_size.
        """
        world_size = check_integer("world_size", world_size, 1)
        self._shares.place(check_integer("rank", rank, 0, world_size - 1), world_size, alone)
        return self

    def sync(self, group: Any = None) -> None:
        """Shares what the training steps of all ranks since the last call have shown.

        All ranks call it at the same point, after each step or at the end of an epoch: then all
        have the memory of one process that has trained on the ranks' mini-batches, step by step
        and in each step rank by rank. A sampler that draws in blocks learns within the epoch only
        if it is called there. What is sent are the samples' numbers and what the method remembers
        of each, 8 bytes and 4 to 12 for a sample that was trained on.

        In a single process, and after ``shard(..., alone=True)``, there is nothing to do.

        Args:
            group: a process group of ``torch.distributed``; None is the default one.

        Raises:
            ValueError, IndexError: what a step's update is wrong with, on all ranks; the other
                updates are made. Also if the ranks have samplers of other seeds.
        """
        if not self._shares.learn_together:
            return
        if self.memory is None:
            raise NotImplementedError(f"{type(self).__name__} has no memory to share")
        terms = {"sampler": type(self).__name__, "size": self.size, "seed": self._seed}
        self._shares.updates_of(self.memory).exchange(Ranks(group), terms)

    @property
    def on_fault(self) -> OnFault:
        """What becomes of a faulty row, see :class:`~impsamp_fast.SampleMemory`."""
        return "raise" if self.memory is None else self.memory.on_fault

    @property
    def faulty_rows(self) -> int:
        """How many faulty rows were skipped so far; an accelerator is waited for."""
        return 0 if self.memory is None else self.memory.faulty_rows

    @abstractmethod
    def length(self, epoch: int) -> int:
        """How many indices the epoch has, from 0, by what is known now."""

    @abstractmethod
    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """Draws the next indices of the epoch, by what is known now.

        Args:
            epoch: the epoch's number, from 0.
            wanted: how many indices the epoch still lacks; ``length(epoch)`` of its beginning for
                its first block.
            seed: of this block.

        Returns:
            [m] integers with 1 <= m <= wanted.
        """

    def update(
        self,
        index: Tensor,
        logits: Tensor | None = None,
        target: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Learns from a training step; see :meth:`~impsamp_fast.SampleMemory.update`.

        Tensors on an accelerator are fetched later, in groups.

        Args:
            index: [n], int64 or int32, the samples' numbers.
            logits: [n, C], where the method needs them.
            target: [n] class indices or [n, C] class probabilities, likewise.
            losses: [n], the loss of each row as it was trained, likewise; None takes the
                cross-entropy of ``logits`` and ``target``.

        Raises:
            TypeError, ValueError, IndexError: as ``SampleMemory.update``; nothing is learned then.
        """
        if self.memory is None:
            raise NotImplementedError(f"{type(self).__name__} has neither a memory nor an update")
        if self._shares.learn_together:
            self._shares.updates_of(self.memory)
        self.memory.update(index, logits, target, losses=losses)
        self.note_training(len(index))

    def note_training(self, rows: int = 0) -> None:
        """Says that the pass under way is trained on; an ``update`` of a class's own calls it.

        Args:
            rows: how many rows of it were told of.
        """
        self._epochs.note_training(rows)

    @property
    def trained(self) -> int:
        """How many indices of the epoch under way were trained on, by all ranks together.

        They are those that ``update`` was told of, on a rank as many as on the others. A loader
        with worker processes, and a trainer that runs ahead, has asked for more:
        ``state_dict(position=sampler.trained)`` is the state for these.
        """
        this = self._epochs.under_way()
        if this is None:
            return 0
        return min(this.first + this.rows * self._shares.training_ranks, this.position)

    def weight(self, index: Tensor) -> Tensor:
        """The weights of a mini-batch's losses, [n] float32 on the device of ``index``.

        They are 1 for most methods. They lie on the CPU: an index on an accelerator makes the host
        wait, one that comes from the loader as it is does not.

        Args:
            index: [n], int64 or int32, the samples' numbers.

        Raises:
            TypeError, ValueError, IndexError: if ``index`` is not as described.
        """
        weight = self._weight(check_index(index, self.size)).to(index.device)
        self.note_training()
        return weight

    def mean(self, losses: Tensor, index: Tensor) -> Tensor:
        """The mean of ``weight(index) * losses``: the loss to call ``backward`` on.

        Args:
            losses: [n], any floating dtype, the loss of each row (``reduction="none"``).
            index: [n], int64 or int32, the samples' numbers, see ``weight``.

        Returns:
            A scalar, differentiable in ``losses``.

        Raises:
            TypeError: if ``losses`` is not a floating-point tensor; and as ``weight``.
            ValueError: if it is not of shape [n]; and as ``weight``.
        """
        weight = self.weight(index)
        check_losses(losses, weight.shape[0])
        return (losses * weight.to(losses.device)).mean()

    def batches(self, n: int, drop_last: bool = True) -> BatchSampler:
        """The indices in lists of n, for ``DataLoader(batch_sampler=...)``.

        ``set_epoch`` stays this sampler's. A list's indices are drawn when it is asked for, as far
        as the method's blocks go: with ``block=n`` each batch is drawn by itself.

        The state of the lists is this sampler's, which torchdata's ``StatefulDataLoader`` saves and
        resumes, as it does that of ``sampler=``. It is made when the loader's is saved or loaded,
        which must be before the next epoch: then it has all that was learned, and costs nothing in
        other steps. (With ``sampler=`` and worker processes the loader copies the memory for each
        batch all the same, see its ``snapshot_every_n_steps``.)

        Args:
            n: samples per mini-batch, at least 1.
            drop_last: whether to leave out a last list of fewer than n.

        Raises:
            TypeError: if n is not an integer.
            ValueError: if n is less than 1.
        """
        return Batches(self, check_integer("n", n, 1), drop_last)

    def planned_steps(self, batch_size: int, epochs: int, *, drop_last: bool = True) -> int:
        """How many training steps are left of so many epochs, by what is known now.

        Epochs that leave samples out, by what they learn, have fewer steps than a schedule that was
        made for the whole data set. Asked at the beginning of each epoch, this says what the rest
        of the schedule must be::

            for epoch in range(epochs):
                sampler.set_epoch(epoch)
                planned = step + sampler.planned_steps(128, epochs)

        Args:
            batch_size: samples per step and rank.
            epochs: how many epochs the training has, those before this one included.
            drop_last: whether a last mini-batch of fewer samples is left out.

        Returns:
            The steps of one rank, from where training is in the epoch under way, or else from the
            beginning of the next one.

        Raises:
            TypeError, ValueError: unless both are integers of at least 1.
        """
        batch_size = check_integer("batch_size", batch_size, 1)
        epochs = check_integer("epochs", epochs, 1)
        left = self._epochs.left(epochs, self.trained, self.length)
        rounding = 0 if drop_last else batch_size - 1
        return sum((self._shares.of(number) + rounding) // batch_size for number in left)

    def set_epoch(self, epoch: int) -> None:
        """Says that the next pass is of that epoch, from 0.

        A pass that is under way may go on to its end. If it is of the same epoch, naming it changes
        nothing, and so with a pass that was saved in the middle and loaded.

        Raises:
            TypeError: if ``epoch`` is not an integer.
            ValueError: if it is negative.
        """
        self._epochs.name(check_integer("epoch", epoch, 0))

    def __len__(self) -> int:
        """Indices in the epoch under way, or else in the next one by what is known now.

        Those that are handed out here, where they are shared out among ranks.
        """
        return self._shares.of(self._epochs.length(self.length))

    def __iter__(self) -> Iterator[int]:
        return Indices.of(self, self._pass())

    def _pass(self) -> Iterator[int]:
        """The next pass; a loader may make it and not use it, and no epoch begins by that."""
        self._shares.check_exchanged("the next pass")
        self._look_for_updates()
        this = self._epochs.begin(lambda epoch: self._empty_order(self.length(epoch)))
        yield from self._epochs.hand_out(this, *self._shares.here, self._draw)

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """What is needed to go on with the same indices, also in the middle of an epoch.

        Args:
            position: how many indices of this epoch were trained on, by all ranks together. None
                means all that were handed out; but a loader with worker processes has asked ahead,
                and then you must say.

        The state is that of any rank, and may be loaded with another number of ranks.

        Raises:
            RuntimeError: if what a rank's training has shown is not shared yet: call ``sync``
                before.
            TypeError: if ``position`` is not an integer.
            ValueError: if it is negative or more than were handed out, or before the position of a
                state that was loaded.
        """
        self._shares.check_exchanged("a state is saved")
        this = self._epochs.under_way()
        if position is None and not self._has_stateful_loader:
            look_for_asking_ahead(this, self.trained)
        position = position_to_save(position, this)
        memory = None if self.memory is None else self.memory.state_dict()
        return {
            "sampler": type(self).__name__,
            "size": self.size,
            "seed": self._seed,
            "epoch": self._epochs.next() if this is None else this.epoch,
            "length": None if this is None else len(this.order),
            "position": position,
            "drawn": None if this is None else this.order[position : this.drawn].clone(),
            "memory": memory,
            "tables": {name: table.clone() for name, table in self._tables.items()},
        }

    def _state_then(self) -> StateThen:
        """The state as of this position, made later."""
        self._has_stateful_loader = True
        this = self._epochs.under_way()
        if this is None or this.is_over:
            return StateThen(self, self._epochs.next(), 0)
        return StateThen(self, this.epoch, this.position)

    def _state_at(self, epoch: int, position: int) -> dict[str, Any]:
        """The state at a position that was handed out; RuntimeError once it is of the past."""
        this, last = self._epochs.under_way(), self._epochs.last
        if this is not None and this.epoch == epoch:
            return self.state_dict(max(position, this.first))
        ended = this is None and last is not None and last.epoch == epoch
        if ended or (self._epochs.next() == epoch and position == 0):
            return self.state_dict()
        raise RuntimeError(
            f"the loader's state is of position {position} of epoch {epoch}, which is over: save "
            "it, or load it elsewhere, before the next epoch begins"
        )

    def load_state_dict(self, state: Mapping[str, Any] | StateThen) -> None:
        """Continues from a state that ``state_dict`` returned: the next pass goes on there.

        A state from between two epochs goes on with the next epoch.

        Raises:
            KeyError: if it is not the state of a sampler.
            TypeError: if a part of it is not of the kind that it has here.
            ValueError: if it is that of another sampler, another size, or does not fit together.

        After an error the sampler is as it was.
        """
        if isinstance(state, StateThen):
            state = state.make()
        drawn = check_state(state, type(self).__name__, self.size, self._tables)
        if self.memory is not None:
            self.memory.load_state_dict(state["memory"])
        for name, table in self._tables.items():
            table.copy_(state["tables"][name])  # from whatever device it was loaded to
        self._shares.forget()
        self._seed = state["seed"]
        if drawn is None:
            self._epochs.start(state["epoch"])
            return
        order = self._empty_order(state["length"])
        self._epochs.resume(pass_of(state, drawn, order))

    def _look_for_updates(self) -> None:
        """Warns, once, if the last pass has come to its end and nothing was learned."""
        last = self._epochs.last
        if self.memory is None or self._has_warned or last is None or not last.is_over:
            return
        if last.rows == 0 and last.position > last.first:
            self._has_warned = True
            warnings.warn(
                f"an epoch of {type(self).__name__} ended without an update, so that it learns "
                "nothing: call sampler.update(index, ...) in each training step. (Hugging Face's "
                "Trainer removes the index from batches, unless remove_unused_columns=False.)",
                stacklevel=2,
            )

    def _weight(self, index: Tensor) -> Tensor:
        """The weights of samples, [n] float32, for an index on the CPU that was checked."""
        return torch.ones(len(index), dtype=torch.float32, device="cpu")

    def _draw(self, this: Pass) -> None:
        """Draws the next block."""
        first = this.drawn
        seed = self._seed_of_block(this.epoch, first)
        this.add(self.draw_block(this.epoch, len(this.order) - first, seed))

    def _seed_of_block(self, epoch: int, position: int = 0) -> int:
        """That of the block which begins at a position of an epoch."""
        return seed_of_step(self._seed, epoch * _STEPS_PER_EPOCH + position)

    def _empty_order(self, length: int) -> Tensor:
        """Room for an epoch's indices; half the room wherever that is enough."""
        dtype = torch.int32 if self.size <= 1 << 31 else torch.int64
        return torch.empty(length, dtype=dtype, device="cpu")


def shuffled(size: int, seed: int) -> Tensor:
    """The numbers from 0 to size - 1 in random order, [size] int64."""
    return uniform_rows(size, size, seed, torch.device("cpu"))
