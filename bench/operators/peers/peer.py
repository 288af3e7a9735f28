"""What a peer is: the jobs it does, and whether it can do them here."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from bench.operators.timing import Function

LONGEST = 120  # reason
Maker = Callable[..., Function]  # from a job's inputs to the call that is timed


@dataclass(frozen=True, eq=False)
class Job:
    """What there is to do, and how our operators do it.

    Args:
        name: in results.
        ours: from the job's inputs to our call.
    """

    name: str
    ours: Maker


@dataclass(frozen=True, eq=False)
class Peer:
    """Who else does a job.

    Args:
        name: in results.
        jobs: from each job's inputs to the peer's call, whose result begins like ours.
        package: the distribution that it is part of.
        available: why it cannot be tried here, or None.
    """

    name: str
    jobs: Mapping[Job, Maker]
    package: str = "torch"
    available: Callable[[], str | None] = lambda: None


def cannot_import(module: str) -> str | None:
    """Why a module cannot be imported, or None."""
    try:
        importlib.import_module(module)
    except Exception as error:  # one that was built for another torch fails in its own ways
        return error_line(error)
    return None


def cannot_import_on_cuda(module: str) -> str | None:
    """The same of a module that needs a CUDA device."""
    return cannot_import(module) if torch.cuda.is_available() else "needs a CUDA device"


def error_line(error: Exception) -> str:
    """The first line of an error, cut where it would fill a table."""
    return (str(error).strip() or repr(error)).splitlines()[0][:LONGEST]
