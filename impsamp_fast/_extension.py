"""Loads the compiled extension, once it is certain that it fits the torch that is installed.

With another torch the loader would stop at an undefined symbol. So versions are compared before
the extension is touched, and whatever is wrong is one line that says what to type. Patches of a
release keep its binary interface; of what comes before a release each is another torch.
"""

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _build_command() -> str:
    source = Path(__file__).resolve().parents[1]
    if (source / "setup.py").is_file():
        return f"pip install --no-build-isolation -e {shlex.quote(str(source))}"
    return "pip install --no-build-isolation . # in the source folder of impsamp_fast"


def _fits(torch: Any, built: Any) -> bool:
    """Whether the extension is one for this torch."""
    running = str(torch.__version__)
    if running == built.TORCH:
        return True
    final = all(re.fullmatch(r"\d+\.\d+\.\d+(\+\w+)?", name) for name in (running, built.TORCH))
    if not final or _release(running) != _release(built.TORCH):
        return False
    cuda = built.CUDA and built.CUDA["version"].split(".")[0]
    return not cuda or (torch.version.cuda or "").split(".")[0] == cuda


def _problem() -> str | None:
    """What keeps the extension from being loaded and what to type, or None."""
    if find_spec("torch") is None:
        return "impsamp_fast needs torch; type: pip install torch"
    if find_spec("impsamp_fast._C") is None or find_spec("impsamp_fast._built_with") is None:
        python = ".".join(map(str, sys.version_info[:2]))
        return f"impsamp_fast has not been built for Python {python}; type: {_build_command()}"

    import torch

    import impsamp_fast._built_with as built

    running = str(torch.__version__)
    if _release(running) < _release(built.MINIMUM_TORCH):
        return (
            f"impsamp_fast needs torch {built.MINIMUM_TORCH} or later, and {running} is installed; "
            f"type: pip install --upgrade 'torch>={built.MINIMUM_TORCH}' && {_build_command()}"
        )
    if not _fits(torch, built):
        cure = f"to build it again, type: {_build_command()}"
        if "+" in built.VERSION:  # a wheel
            minor = ".".join(map(str, _release(built.TORCH)))
            cure = f"install the wheel for that torch, or type: pip install 'torch=={minor}.*'"
        return (
            f"impsamp_fast {built.VERSION} was built with torch {built.TORCH}, and {running} is "
            f"installed; {cure}"
        )
    return None


if problem := _problem():
    raise ImportError(problem)

import torch  # noqa: E402 (it is there)

import impsamp_fast._built_with as built  # noqa: E402 (it fits)
from impsamp_fast import _C  # noqa: E402

__all__ = ["_C", "build_info"]


def build_info() -> dict[str, Any]:
    """What was built, and what it runs on.

    Returns:
        A dict with

        - ``version``: of impsamp_fast, when it was built,
        - ``torch``: the torch it was built with, and ``torch_running``, the one in use,
        - ``cuda``: None for a build without CUDA; else a dict with the ``version`` of CUDA that
          torch has, that of ``nvcc``, which compiled the kernels, and the ``architectures`` of GPUs
          it compiled for,
        - ``compiler`` and ``flags``: what it was compiled with,
        - ``levels``: the CPU instruction sets with kernels of their own,
        - ``cpu_capability``: the level that torch chose for this machine, and so the kernels that
          run: ``DEFAULT`` (baseline), ``AVX2`` or ``AVX512``.
    """
    return {
        "version": built.VERSION,
        "torch": built.TORCH,
        "torch_running": str(torch.__version__),
        "cuda": built.CUDA and dict(built.CUDA),
        "compiler": built.COMPILER,
        "flags": built.FLAGS,
        "levels": list(built.LEVELS),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
