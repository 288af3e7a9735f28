"""Seeds: one for a run, and from it one for each of its steps."""

from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from impsamp_fast._checks import to_integer

# The increment of a Weyl sequence over the 64-bit integers (2^64 / golden ratio, odd): the seeds of
# a run's steps do not repeat, and two runs with neighbouring seeds share none within any real run.
SEED_INCREMENT = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def seed_of_run(seed: int | None) -> int:
    """The seed as an int; None takes one from torch's default generator, on the CPU.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is not in [-2^63, 2^64).
    """
    if seed is None:
        return int(torch.randint((1 << 63) - 1, (), device="cpu"))
    number = to_integer("seed", seed, "an integer or None")
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError(f"seed is {number}, expected -2^63 <= seed < 2^64")
    return number


def rank_here() -> int:
    """This process's rank in torch's default process group; 0 where there is none."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size_here() -> int:
    """How many ranks torch's default process group has; 1 where there is none."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@lru_cache(maxsize=64)
def seed_of_rank(seed: int, rank: int) -> int:
    """Another seed for each rank: seed XOR mix(rank), which is the seed itself for rank 0.

    Mixed by the finaliser of SplitMix64 (Steele, Lea, Flood 2014): no rank is another some steps
    later.
    """
    mixed = rank * SEED_INCREMENT & _MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ mixed >> shift) * factor & _MASK
    return (seed & _MASK) ^ mixed ^ mixed >> 31


def seed_of_step(seed: int, step: int) -> int:
    """The seed of a run's step: seed + step * 0x9E3779B97F4A7C15 modulo 2^64."""
    return (seed + step * SEED_INCREMENT) & _MASK


def second_seed(seed: Any) -> Any:
    """Another seed, an int or a tensor like this one, for the same step, where it draws twice."""
    # Half a period of the Weyl sequence away: no step of a real run comes there.
    half = 1 << 63
    return seed ^ (half if isinstance(seed, int) else _signed(half))


def seed_of_traced_step(seed: int, step: int, device: torch.device) -> Tensor:
    """The seed of a run's step as a scalar on a device.

    A graph that is traced holds a step's number as a variable, but could hold an integer of more
    than 64 bits only as a constant, and would be traced anew in each step.
    """
    number = torch.full((), step, dtype=torch.int64, device=device)
    return number * _signed(SEED_INCREMENT) + _signed(seed & _MASK)  # modulo 2^64


def _signed(number: int) -> int:
    """The number of 64 bits that int64 has for an unsigned one."""
    return number - (1 << 64) if number >= 1 << 63 else number
