"""Builds the extension impsamp_fast._C against the torch that is installed.

Everything that depends on neither torch nor the compiler nor the README is in pyproject.toml.

CUDA's kernels are built if torch is a CUDA build and there is an nvcc of the same major version.
No GPU is needed, and none is looked for: what is built is the same everywhere.

Environment:
    IMPSAMP_CUDA          0: without CUDA; 1: with CUDA, or an error that says what is missing
    TORCH_CUDA_ARCH_LIST  GPUs to compile for, as in "8.0;9.0+PTX" (read by torch); else one of each
                          generation that torch has code for, and PTX for those to come
    CUDA_HOME             the folder of CUDA, with bin/nvcc
    MAX_JOBS              how many files are compiled at a time (read by torch)
    CXX                   the C++ compiler (read by torch)
    IMPSAMP_WHEEL         1: for a wheel to hand out, which names and requires this torch's release
    IMPSAMP_SANITIZE      1: a build for AddressSanitizer and UBSan, see `make sanitize`
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
MINIMUM_TORCH = "2.11"


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

MINOR = "{}.{}".format(*release(torch.__version__))
SANITIZE = os.environ.get("IMPSAMP_SANITIZE") == "1"


# ------------------------------------------------------------------------------------------- CUDA


def output_of(*command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


def toolkit():
    """The folder and the version of CUDA's compiler, or (None, None)."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [f"{home}/bin/nvcc"] if home else [shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"]
    for nvcc in filter(None, places):
        version = Path(nvcc).is_file() and re.search(r"release (\d+\.\d+)", output_of(nvcc, "-V"))
        if not version:
            continue
        # The nvcc on the PATH may be a link or a script; it says where the real one is.
        here = re.search(r"_HERE_=(\S+)", output_of(nvcc, "--dryrun", "-x", "cu", os.devnull))
        folder = Path(here[1]) if here else Path(nvcc).resolve().parent
        return str(folder.parent), version[1]
    return None, None


def architectures(home, version):
    """What to compile for, as TORCH_CUDA_ARCH_LIST has it. Code for x.y runs on all later x.z."""
    nvcc = output_of(f"{home}/bin/nvcc", "--list-gpu-code")
    known = {int(number) for number in re.findall(r"sm_(\d+)\b", nvcc)}
    if asked := os.environ.get("TORCH_CUDA_ARCH_LIST"):
        for major, minor in re.findall(r"(\d+)\.(\d)", asked):
            if int(major + minor) not in known:
                all_known = ", ".join(f"{number // 10}.{number % 10}" for number in sorted(known))
                sys.exit(
                    f"TORCH_CUDA_ARCH_LIST has {major}.{minor}, but the nvcc of CUDA {version} "
                    f"in {home} compiles for {all_known}"
                )
        return [name for name in re.split("[; ,]+", asked) if name]
    flags = torch._C._cuda_getArchFlags() or ""
    in_torch = {int(number) for number in re.findall(r"sm_(\d+)\b", flags)}
    usable = sorted(in_torch & known) or sorted(known)
    first = {number // 10: number for number in reversed(usable)}
    names = [f"{number // 10}.{number % 10}" for number in sorted(first.values())]
    return [*names[:-1], f"{names[-1]}+PTX"]


def cuda_build():
    """What CUDA's kernels are compiled with, and for; None if they are not."""
    wish = os.environ.get("IMPSAMP_CUDA", "")
    if wish not in ("", "0", "1"):
        sys.exit(f"IMPSAMP_CUDA is {wish!r}, but must be 0 or 1, or not set")
    if wish == "0" or (SANITIZE and not wish):
        return None
    ours = getattr(torch.version, "cuda", None)
    home, version = toolkit()
    if ours is None:
        missing = f"torch {torch.__version__} is a build without CUDA"
    elif home is None:
        missing = (
            "there is no nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda: install that of "
            f"CUDA {ours.split('.')[0]}"
        )
    elif version.split(".")[0] != ours.split(".")[0]:
        missing = (
            f"torch {torch.__version__} is built with CUDA {ours} and the nvcc in {home} is of "
            f"CUDA {version}: set CUDA_HOME to a CUDA {ours.split('.')[0]}"
        )
    else:
        names = architectures(home, version)
        return {"version": ours, "nvcc": version, "home": home, "architectures": names}
    if wish == "1":
        sys.exit(f"IMPSAMP_CUDA is 1, but {missing}")
    if ours is not None:
        print(f"impsamp_fast is built without CUDA: {missing}", file=sys.stderr)
    return None


CUDA = cuda_build()
if CUDA:  # what torch looks for by itself may be a script's folder, or need a GPU
    os.environ["CUDA_HOME"] = CUDA["home"]
    os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(CUDA["architectures"])

from torch.utils.cpp_extension import (  # noqa: E402 (it is new enough, and knows CUDA_HOME)
    BuildExtension,
    CppExtension,
    CUDAExtension,
    get_cxx_compiler,
    include_paths,
)

# -------------------------------------------------------------------------------------- extension

# No fused multiply-add but those that the sources write out: a result must not depend on what the
# compiler makes of an expression. -fopenmp turns on at::parallel_for; the OpenMP library that
# serves it is the one that torch has loaded. Where a function begins makes up to a tenth of its
# speed: it begins a line of the cache, wherever the linker puts it.
COMPILE_FLAGS = [
    "-std=c++20",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-falign-functions=64",
    "-ffp-contract=off",
    "-fopenmp",
    "-Wall",
    "-Wextra",
    "-Wno-psabi",  # vectors never cross from one file to another
]
LINK_FLAGS = ["-fopenmp"]
if sys.platform == "darwin":  # whose compiler has no OpenMP: the CPU's operators use one thread
    COMPILE_FLAGS.remove("-fopenmp")
    LINK_FLAGS.remove("-fopenmp")
# ptxas tells what each kernel takes, for `make cuda-check`.
NVCC_FLAGS = [
    "-std=c++17",
    "-O3",
    "-Xptxas=-v",
    "-Xcompiler=-fvisibility=hidden,-ffp-contract=off,-Wall",
]
if SANITIZE:
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    COMPILE_FLAGS += ["-O1", "-g", "-fno-omit-frame-pointer", *checks]
    LINK_FLAGS += checks


def sources():
    """The translation units. The folder of a further device joins the list here."""
    patterns = ["csrc/*.cpp", "csrc/cpu/*.cpp"]
    if CUDA:
        patterns += ["csrc/cuda/*.cpp", "csrc/cuda/*.cu"]
    return sorted(str(path.relative_to(ROOT)) for p in patterns for path in ROOT.glob(p))


def levels():
    """The instruction sets with kernels of their own, csrc/cpu/level_*.cpp."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["baseline"]
    return sorted(path.stem.removeprefix("level_") for path in ROOT.glob("csrc/cpu/level_*.cpp"))


def extension():
    """The extension module. Torch's headers are system headers: their warnings are not ours."""
    kind = CUDAExtension if CUDA else CppExtension
    module = kind("impsamp_fast._C", sources(), extra_link_args=LINK_FLAGS)
    headers = [*include_paths(), *([f"{CUDA['home']}/include"] if CUDA else [])]
    system_headers = [flag for path in headers for flag in ("-isystem", path)]
    module.include_dirs = [str(ROOT / "csrc")]
    module.extra_compile_args = {"cxx": [*COMPILE_FLAGS, *system_headers], "nvcc": NVCC_FLAGS}
    return module


def metal_sources():
    """What is compiled where there is an Apple GPU: the package brings it along as it is."""
    return [path.relative_to(ROOT) for p in ("*.h", "metal/*") for path in ROOT.glob(f"csrc/{p}")]


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
        if not self.inplace:  # else they are read where they are
            for path in metal_sources():
                place = Path(self.build_lib, "impsamp_fast", path)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, place)
        compiler = subprocess.run(
            [get_cxx_compiler(), "--version"], check=True, capture_output=True, text=True
        ).stdout.splitlines()[0]
        facts = {
            "VERSION": self.distribution.get_version(),
            "MINIMUM_TORCH": MINIMUM_TORCH,
            "TORCH": str(torch.__version__),
            "CUDA": CUDA and {name: CUDA[name] for name in ("version", "nvcc", "architectures")},
            "COMPILER": compiler,
            "FLAGS": " ".join(COMPILE_FLAGS),
            "LEVELS": tuple(levels()),
        }
        lines = ['"""How the extension beside this file was built; written by setup.py."""', ""]
        lines += [f"{name} = {value!r}" for name, value in facts.items()]
        folder = Path(self.get_ext_fullpath("impsamp_fast._C")).parent
        (folder / "_built_with.py").write_text("\n".join(lines) + "\n")


# -------------------------------------------------------------------------------------- metadata


def readme():
    """README.md, with links into the repository that pyproject.toml names, if it names one."""
    text = (ROOT / "README.md").read_text()
    pattern = r'^Repository = "(.+?)/?"$'
    url = re.search(pattern, (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if url is None:
        return text

    def absolute(link):
        mark, name, path = link.groups()
        is_ours = (ROOT / path.partition("#")[0]).is_file()
        place = f"{url[1]}/{'raw' if mark else 'blob'}/HEAD/" if is_ours else ""
        return f"{mark}[{name}]({place}{path})"

    return re.sub(r"(!?)\[([^]]+)\]\(([\w./#-]+)\)", absolute, text)


def variant():
    """What the version of a wheel says of the torch that it is for: "+pt213", or "+pt213cu13"."""
    if os.environ.get("IMPSAMP_WHEEL") != "1":
        return ""
    cuda = f"cu{CUDA['version'].split('.')[0]}" if CUDA else ""
    return f"+pt{MINOR.replace('.', '')}{cuda}"


setup(
    ext_modules=[extension()],
    cmdclass={"build_ext": Build},
    install_requires=[f"torch=={MINOR}.*" if variant() else f"torch>={MINIMUM_TORCH}"],
    long_description=readme(),
    long_description_content_type="text/markdown",
    options={"egg_info": {"tag_build": variant()}},
)
