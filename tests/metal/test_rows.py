"""The row kernels of Metal, run on the host: what is asked of CUDA's (tests/cuda/test_rows.py)."""

from tests.cuda.test_rows import *  # noqa: F403
