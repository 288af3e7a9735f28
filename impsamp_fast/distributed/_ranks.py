"""The ranks of a process group: what they hear of each other, and errors that all of them raise."""

import hashlib
import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

_Result = TypeVar("_Result")

# What must be the same on all ranks, by the names of the arguments, and a rank's int64 numbers.
First = tuple[Mapping[str, object], Tensor]

# What another rank's error is raised as; any other is a RuntimeError here.
_ERRORS = {error.__name__: error for error in (IndexError, KeyError, TypeError, ValueError)}

_FINE, _FAILED = 0, 1
_HEADER = 2  # numbers before what a rank says: whether it failed, and the digest of its terms


class Ranks:
    """The ranks of a process group, as one of them sees them.

    What an accelerator says goes by the host where the group has a backend for the CPU: how it goes
    must not depend on what one rank was given.

    Args:
        group: a process group; None is the default one.

    Raises:
        RuntimeError: if there is no process group.
        ValueError: if this process is not in it.
    """

    def __init__(self, group: Any = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "torch.distributed has no process group: call "
                "torch.distributed.init_process_group first"
            )
        self.group = dist.group.WORLD if group is None else group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        if self.rank < 0:
            raise ValueError("group is one that this process is not in")
        on_cpu = "cpu" in dist.get_backend_config(group)
        self.device = torch.device("cpu") if on_cpu else torch.device("cuda")
        self.room = 0  # for rows whose numbers all ranks send with their first words

    def gather(self, said: Tensor) -> Tensor:
        """What all ranks say, [ranks, ...], on the device of what this one says."""
        heard = torch.empty((self.size, *said.shape), dtype=said.dtype, device=self.device)
        dist.all_gather(list(heard.unbind()), said.to(self.device), group=self.group)
        return heard.to(said.device)

    def agree(self, numbers: int, say: Callable[[], First]) -> Tensor:
        """The first words of all ranks, [ranks, numbers] on the CPU.

        What keeps one rank from speaking is raised on all, which then still are at the same
        collective.

        Args:
            numbers: how many numbers a rank says.
            say: makes them. Whatever may go wrong on one rank alone is done here.

        Raises:
            ValueError: where a term differs, on all ranks.
            Exception: what ``say`` raised: here, or of the same type and with the rank's number on
                all others.
        """
        error: Exception | None = None
        try:
            terms, said = say()
        except Exception as raised:
            error = raised
            terms, said = {}, torch.zeros(numbers, dtype=torch.int64, device="cpu")
        state = _FINE if error is None else _FAILED
        header = torch.tensor([state, _digest(terms)], dtype=torch.int64, device="cpu")
        heard = self.gather(torch.cat([header, said.cpu()]))
        if bool((heard[:, 0] != _FINE).any()) or bool((heard[:, 1] != heard[0, 1]).any()):
            self._raise(terms, error)
        return heard[:, _HEADER:]

    def follow(self, stages: Generator[Tensor, Tensor, _Result]) -> _Result:
        """The result of stages that yield what a rank says and are sent what all of them say."""
        try:
            said = next(stages)
            while True:
                said = stages.send(self.gather(said))
        except StopIteration as end:
            result: _Result = end.value
            return result

    def exchange(self, rows: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """The rows that the ranks send to this one, rank by rank.

        Args:
            rows: [m, ...], those for rank 0, then those for rank 1 and so on.
            sent: how many go to each rank.
            received: how many come from each.
        """
        flat = rows.reshape(len(rows), math.prod(rows.shape[1:])).contiguous().view(torch.uint8)
        there = flat.new_empty(sum(received), flat.shape[1])
        dist.all_to_all_single(there, flat, received, sent, group=self.group)
        return there.view(rows.dtype).reshape(-1, *rows.shape[1:])

    def _raise(self, terms: Mapping[str, object], error: Exception | None) -> None:
        """Raises what is wrong on some rank, on all of them."""
        told = None if error is None else (type(error).__name__, str(error))
        shown = {name: repr(value) for name, value in terms.items()}
        every: list[Any] = [None] * self.size
        dist.all_gather_object(every, (told, shown), group=self.group)
        if error is not None:
            raise error
        for rank, (failure, _) in enumerate(every):
            if failure is not None:
                kind, message = failure
                raise _ERRORS.get(kind, RuntimeError)(f"on rank {rank}: {message}")
        for rank, (_, there) in enumerate(every):
            for name in {**every[0][1], **there}:
                value, other = (said.get(name, "not given") for said in (every[0][1], there))
                if value != other:
                    raise ValueError(
                        f"{name} is {value} on rank 0, but {other} on rank {rank}: it must be the "
                        "same on all ranks"
                    )


def _digest(terms: Mapping[str, object]) -> int:
    text = repr(tuple(terms.values())).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)
