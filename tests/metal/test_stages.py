"""The stages of a draw by Metal, run on the host: what is asked of CUDA's."""

from tests.cuda.test_stages import *  # noqa: F403
