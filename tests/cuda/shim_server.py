"""The executable that runs the CUDA kernels on the host, and its process.

A C++ compiler alone makes it of the ``.cu`` files of csrc/cuda (tests/cuda/shim says how).
"""

from pathlib import Path

from tests.shim.building import ROOT, build_server
from tests.shim.process import Server

SHIM = ROOT / "tests" / "cuda" / "shim"
SOURCES = [SHIM / "server.cpp", *sorted((ROOT / "csrc" / "cuda").glob("*.cu"))]
HEADERS = [
    *sorted((ROOT / "csrc").glob("*.h")),
    *sorted((ROOT / "csrc" / "cuda").glob("*.h")),
    *sorted((ROOT / "csrc" / "cuda").glob("*.cuh")),
    *sorted(SHIM.glob("*.h")),
]


class ShimServer(Server):
    """The process that runs the CUDA kernels.

    Args:
        order: see :class:`Server`.
        shared_memory: the bytes that a block may ask for; a launch with more fails.
    """

    def __init__(self, order: int, shared_memory: int) -> None:
        super().__init__(_build, order, ISF_SHIM_SHARED=str(shared_memory))


def _build() -> Path:
    return build_server(ROOT / "build" / "shim", SOURCES, HEADERS, [f"-I{SHIM}"])
