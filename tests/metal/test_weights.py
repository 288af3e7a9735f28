"""The weights of Metal, run on the host: what is asked of CUDA's (tests/cuda/test_weights.py)."""

from tests.cuda.test_weights import *  # noqa: F403
