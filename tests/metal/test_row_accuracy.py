"""The row kernels of Metal, run on the host: as accurate as the CPU's, by the same measures."""

from tests.cuda.test_row_accuracy import *  # noqa: F403
