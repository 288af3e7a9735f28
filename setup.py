"""Builds the extension impsamp_fast._C against the torch that is installed.

Everything that depends on neither torch nor the compiler is in pyproject.toml.

Environment:
    MAX_JOBS            how many files are compiled at a time (read by torch)
    CXX                 the C++ compiler (read by torch)
    IMPSAMP_SANITIZE    1: a build for AddressSanitizer and UBSan, see `make sanitize`
"""

import os
import platform
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
MINIMUM_TORCH = re.search(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]


def release(version):
    """(2, 13) for "2.13.0+cpu"."""
    return tuple(int(part) for part in version.split(".")[:2])


if find_spec("torch") is None:
    sys.exit(
        "impsamp_fast is built with the torch that is installed, and there is none here; type: "
        f"pip install 'torch>={MINIMUM_TORCH}' setuptools ninja && "
        "pip install --no-build-isolation ."
    )

import torch  # noqa: E402 (it is there)

if release(torch.__version__) < release(MINIMUM_TORCH):
    sys.exit(
        f"impsamp_fast needs torch {MINIMUM_TORCH} or later, and {torch.__version__} is installed; "
        f"type: pip install --upgrade 'torch>={MINIMUM_TORCH}' && "
        "pip install --no-build-isolation ."
    )

from torch.utils.cpp_extension import (  # noqa: E402 (it is new enough)
    BuildExtension,
    CppExtension,
    get_cxx_compiler,
    include_paths,
)

SANITIZE = os.environ.get("IMPSAMP_SANITIZE") == "1"

# No fused multiply-add but those that the sources write out: a result must not depend on what the
# compiler makes of an expression. -fopenmp turns on at::parallel_for; the OpenMP library that
# serves it is the one that torch has loaded.
COMPILE_FLAGS = [
    "-std=c++20",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fopenmp",
    "-Wall",
    "-Wextra",
    "-Wno-psabi",  # vectors never cross from one file to another
]
LINK_FLAGS = ["-fopenmp"]
if SANITIZE:
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    COMPILE_FLAGS += ["-O1", "-g", "-fno-omit-frame-pointer", *checks]
    LINK_FLAGS += checks


def sources():
    """The translation units. The folder of a further device joins the list here."""
    folders = ["csrc", "csrc/cpu"]
    return sorted(str(path.relative_to(ROOT)) for f in folders for path in (ROOT / f).glob("*.cpp"))


def levels():
    """The instruction sets with kernels of their own, csrc/cpu/level_*.cpp."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["baseline"]
    return sorted(path.stem.removeprefix("level_") for path in ROOT.glob("csrc/cpu/level_*.cpp"))


def extension():
    """The extension module. Torch's headers are system headers: their warnings are not ours."""
    module = CppExtension("impsamp_fast._C", sources(), extra_link_args=LINK_FLAGS)
    torch_headers = [flag for path in include_paths() for flag in ("-isystem", path)]
    module.include_dirs = [str(ROOT / "csrc")]
    module.extra_compile_args = [*COMPILE_FLAGS, *torch_headers]
    return module


class Build(BuildExtension):
    """Compiles into a folder that is kept, and records beside the extension how it was built.

    Object files of two versions of torch must not be linked together, so the folder has torch's
    version in its name. Within one version ninja compiles only what has changed, for
    `pip install .`, `pip install -e .` and `python setup.py build_ext --inplace` alike.
    """

    def finalize_options(self):
        if self.build_temp is None:
            tag = f"torch-{torch.__version__}-{sys.implementation.cache_tag}"
            self.build_temp = f"build/{tag}-{'sanitize' if SANITIZE else 'release'}"
        super().finalize_options()

    def run(self):
        super().run()
        compiler = subprocess.run(
            [get_cxx_compiler(), "--version"], check=True, capture_output=True, text=True
        ).stdout.splitlines()[0]
        facts = {
            "VERSION": self.distribution.get_version(),
            "MINIMUM_TORCH": MINIMUM_TORCH,
            "TORCH": str(torch.__version__),
            "CUDA": None,
            "COMPILER": compiler,
            "FLAGS": " ".join(COMPILE_FLAGS),
            "LEVELS": tuple(levels()),
        }
        lines = ['"""How the extension beside this file was built; written by setup.py."""', ""]
        lines += [f"{name} = {value!r}" for name, value in facts.items()]
        folder = Path(self.get_ext_fullpath("impsamp_fast._C")).parent
        (folder / "_built_with.py").write_text("\n".join(lines) + "\n")


setup(ext_modules=[extension()], cmdclass={"build_ext": Build})
