"""What the C library does with memory that is freed."""

import ctypes
import sys

# Options of mallopt, see malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Makes this process keep memory that it frees for its next training step; for CPUs.

    glibc, the C library of most Linux systems, gives what tensors have freed back to the system
    where it happens to lie at the end of the heap, and the next step waits for each of its pages
    to be made anew. That can be a third of the step of a convolutional network, and comes and goes
    with what else is allocated: a mini-batch that was gathered may be enough. Call this once,
    before training. The process then holds on to the most memory that it ever had at once.

    Returns:
        Whether the C library was told so; False with another one, and on other systems.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = [mallopt(_MMAP_THRESHOLD, 1 << 30), mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)]
    return all(told)
