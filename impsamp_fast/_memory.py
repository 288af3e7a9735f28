"""What the C library does with memory that is freed."""

import ctypes
import sys

# Options of mallopt, see malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Makes this process keep memory that it frees for its next training step; for CPUs.

    glibc, the C library of most Linux systems, gives what tensors have freed back to the system
    where it happens to lie at the end of the heap, and the next step waits for each of its pages
    to be made anew. It comes and goes with what else is allocated: the step of a convolutional
    network takes a quarter longer where a gathered mini-batch is enough to begin it. Call this
    once, before training. The process then holds on to the most memory that it ever had at once.

    Returns:
        Whether the C library was told so; False with another one, and on other systems.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Some versions take no more than 32 MB. A threshold that none was set for would stay at the 128
    # kB of the beginning once the other one is set, and larger tensors would be mapped anew.
    if not (mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, 1 << 25)):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
