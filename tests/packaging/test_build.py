"""The build: what setup.py refuses, what is shipped, and what `make` does and does not repeat.

No test compiles. The Makefile runs with stand-ins for python and pip that only note their calls.
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import time
from email import message_from_string
from importlib.util import find_spec
from pathlib import Path

import pytest

import impsamp_fast as isf
from impsamp_fast.ops import _metal

ROOT = Path(__file__).resolve().parents[2]


def run_setup(*arguments, root=ROOT, **options):
    command = [sys.executable, *options.pop("flags", []), str(root / "setup.py"), *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, **options)


# ------------------------------------------------------------------------------- what it refuses


@pytest.fixture
def only_setuptools(tmp_path):
    """The environment of a Python that has setuptools and nothing else, as in an isolated build."""
    site = Path(find_spec("setuptools").origin).parents[1]
    for path in (site / "setuptools", site / "_distutils_hack", *site.glob("setuptools-*")):
        (tmp_path / path.name).symlink_to(path)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_missing_torch_is_one_line(only_setuptools):
    result = run_setup("--version", flags=["-S"], env=only_setuptools)
    assert result.returncode == 1
    assert result.stderr == (
        "impsamp_fast is built with the torch that is installed, and there is none here; type: "
        "pip install 'torch>=2.11' setuptools ninja && pip install --no-build-isolation .\n"
    )


def test_too_old_torch_is_one_line(only_setuptools, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text('__version__ = "2.9.1+cpu"\n')
    result = run_setup("--version", flags=["-S"], env=only_setuptools)
    assert result.returncode == 1
    assert result.stderr == (
        "impsamp_fast needs torch 2.11 or later, and 2.9.1+cpu is installed; type: "
        "pip install --upgrade 'torch>=2.11' && pip install --no-build-isolation .\n"
    )


# ------------------------------------------------------------------------------ whether with CUDA

# A torch of which setup.py sees no more than these few names. Instead of compiling, it says what it
# was asked to compile.
TORCH_STAND_IN = """
from types import SimpleNamespace

__version__ = "2.15.0+{tag}"
version = SimpleNamespace(cuda={cuda!r})
_C = SimpleNamespace(_cuda_getArchFlags=lambda: {flags!r})
"""
CPP_EXTENSION_STAND_IN = """
import json, os
from setuptools import Extension
from setuptools.command.build_ext import build_ext

CppExtension = Extension
CUDAExtension = Extension


def get_cxx_compiler():
    return "c++"


def include_paths():
    return ["torch/include"]


class BuildExtension(build_ext):
    def run(self):
        (module,) = self.extensions
        facts = dict(sources=module.sources, **module.extra_compile_args)
        names = ("CUDA_HOME", "TORCH_CUDA_ARCH_LIST")
        print(json.dumps(facts | {name: os.environ.get(name) for name in names}))
        os.makedirs(os.path.dirname(self.get_ext_fullpath("impsamp_fast._C")))
"""
NVCC_STAND_IN = """#!/bin/sh
case "$1" in
-V) echo "Cuda compilation tools, release {version}, V{version}.88" ;;
--dryrun) echo "#$ _HERE_={home}/bin" >&2 ;;
--list-gpu-code) echo "sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 sm_120" | tr " " "\\n" ;;
esac
"""
FLAGS = "sm_50 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120"


class Machine:
    """Where setup.py runs: with that torch, and an nvcc where it is put."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = environment
        for name in (
            "IMPSAMP_CUDA",
            "IMPSAMP_SANITIZE",
            "IMPSAMP_WHEEL",
            "TORCH_CUDA_ARCH_LIST",
            "CUDA_PATH",
        ):
            self.environment.pop(name, None)
        self.environment["CUDA_HOME"] = str(folder / "nothing")

    def torch(self, cuda, flags=FLAGS):
        utils = self.folder / "torch" / "utils"
        utils.mkdir(parents=True)
        tag = f"cu{cuda.replace('.', '')}" if cuda else "cpu"
        text = TORCH_STAND_IN.format(tag=tag, cuda=cuda, flags=flags)
        (self.folder / "torch" / "__init__.py").write_text(text)
        (utils / "__init__.py").touch()
        (utils / "cpp_extension.py").write_text(CPP_EXTENSION_STAND_IN)

    def nvcc(self, version, folder="toolkit/bin"):
        """A compiler, whose real place is toolkit/bin, and CUDA_HOME."""
        path = self.folder / folder / "nvcc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NVCC_STAND_IN.format(version=version, home=self.folder / "toolkit"))
        path.chmod(0o755)
        self.environment["CUDA_HOME"] = str(path.parent.parent)
        if folder != "toolkit/bin":
            self.nvcc(version)

    def build(self, **environment):
        """What setup.py compiles and says, and build_info()'s part."""
        out = self.folder / "built"
        shutil.rmtree(out, ignore_errors=True)
        arguments = ["--quiet", "build_ext", "--build-lib", str(out), "--build-temp", str(out)]
        result = run_setup(*arguments, flags=["-S"], env=self.environment | environment)
        if result.returncode:
            return None, result.stderr, None
        facts = json.loads(result.stdout.splitlines()[-1])
        built = runpy.run_path(str(out / "impsamp_fast" / "_built_with.py"))
        return facts, result.stderr, built["CUDA"]

    def metadata(self, root=ROOT, **environment):
        """What an index would be told."""
        arguments = ["--quiet", "egg_info", "--egg-base", str(self.folder)]
        environment = self.environment | environment
        result = run_setup(*arguments, root=root, flags=["-S"], env=environment)
        assert result.returncode == 0, result.stderr
        return message_from_string((self.folder / "impsamp_fast.egg-info/PKG-INFO").read_text())


@pytest.fixture
def machine(only_setuptools, tmp_path):
    return Machine(tmp_path, only_setuptools)


def test_cuda_is_built_without_a_gpu(machine):
    """Of each generation the first that torch and nvcc both know, and PTX for those to come."""
    machine.torch("13.2")
    machine.nvcc("13.0")
    facts, errors, info = machine.build()
    assert errors == ""
    assert {"csrc/cuda/ops.cpp", "csrc/cuda/row_stats.cu", "csrc/ops.cpp"} <= set(facts["sources"])
    assert facts["TORCH_CUDA_ARCH_LIST"] == "7.5;8.0;9.0;10.0;12.0+PTX"
    assert not any("torch" in flag for flag in facts["nvcc"])
    architectures = ["7.5", "8.0", "9.0", "10.0", "12.0+PTX"]
    assert info == {"version": "13.2", "nvcc": "13.0", "architectures": architectures}


@pytest.mark.parametrize("flags", ["", "sm_30", None])
def test_a_torch_that_names_no_gpus(machine, flags):
    machine.torch("13.2", flags)
    machine.nvcc("13.0")
    assert machine.build()[0]["TORCH_CUDA_ARCH_LIST"] == "7.5;8.0;9.0;10.0;12.0+PTX"


@pytest.mark.parametrize("wish", ["8.0;9.0+PTX", "8.0 9.0+PTX", "8.0, 9.0+PTX"])
def test_the_gpus_asked_for(machine, wish):
    machine.torch("13.2")
    machine.nvcc("13.0")
    facts, _, info = machine.build(TORCH_CUDA_ARCH_LIST=wish)
    assert facts["TORCH_CUDA_ARCH_LIST"] == "8.0;9.0+PTX"
    assert info["architectures"] == ["8.0", "9.0+PTX"]


def test_gpus_that_nvcc_does_not_know(machine):
    machine.torch("13.2")
    machine.nvcc("13.0")
    _, errors, _ = machine.build(TORCH_CUDA_ARCH_LIST="8.0;13.5")
    assert errors == (
        "TORCH_CUDA_ARCH_LIST has 13.5, but the nvcc of CUDA 13.0 in "
        f"{machine.folder}/toolkit compiles for 7.5, 8.0, 8.6, 8.9, 9.0, 10.0, 12.0\n"
    )


def test_an_nvcc_that_is_a_script_elsewhere(machine):
    machine.torch("13.2")
    machine.nvcc("13.0", "somewhere/bin")
    machine.environment["PATH"] = f"{machine.folder}/somewhere/bin:{os.environ['PATH']}"
    del machine.environment["CUDA_HOME"]
    assert machine.build()[0]["CUDA_HOME"] == f"{machine.folder}/toolkit"


MISSING = {
    "torch": "torch 2.15.0+cpu is a build without CUDA",
    "nvcc": (
        "there is no nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda: install that of CUDA 13"
    ),
    "major": (
        "torch 2.15.0+cu132 is built with CUDA 13.2 and the nvcc in {folder}/toolkit is of CUDA "
        "12.8: set CUDA_HOME to a CUDA 13"
    ),
}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("wish", ["", "0", "1"])
def test_something_is_missing_for_cuda(machine, missing, wish):
    """The CPU's part is built, unless CUDA is asked for; only who has half of it is told."""
    machine.torch(None if missing == "torch" else "13.2")
    if missing != "nvcc":
        machine.nvcc("12.8" if missing == "major" else "13.0")
    what = MISSING[missing].format(folder=machine.folder)
    facts, errors, info = machine.build(IMPSAMP_CUDA=wish)
    if wish == "1":
        assert errors == f"IMPSAMP_CUDA is 1, but {what}\n"
        assert facts is None
    else:
        told = not wish and missing != "torch"
        assert errors == (f"impsamp_fast is built without CUDA: {what}\n" if told else "")
        assert not any("csrc/cuda" in source for source in facts["sources"])
        assert info is None


def test_cuda_is_left_out_when_asked(machine):
    machine.torch("13.2")
    machine.nvcc("13.0")
    for environment in ({"IMPSAMP_CUDA": "0"}, {"IMPSAMP_SANITIZE": "1"}):
        facts, errors, info = machine.build(**environment)
        assert (errors, info) == ("", None)
        assert not any("csrc/cuda" in source for source in facts["sources"])
    _, errors, _ = machine.build(IMPSAMP_CUDA="yes")
    assert errors == "IMPSAMP_CUDA is 'yes', but must be 0 or 1, or not set\n"


# -------------------------------------------------------------------------------- what is shipped


def test_version_is_the_package_s():
    result = run_setup("--version")
    assert result.stdout.splitlines()[-1] == isf.__version__, result.stderr


def test_package_is_shipped_with_its_types(tmp_path):
    result = run_setup("--quiet", "build_py", "--build-lib", str(tmp_path))
    assert result.returncode == 0, result.stderr
    shipped = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"impsamp_fast/py.typed", "impsamp_fast/_C.pyi"} <= shipped
    assert all(name.startswith("impsamp_fast/") for name in shipped)


def test_what_a_mac_compiles_is_installed_and_found(machine):
    machine.torch(None)
    machine.build()
    package = machine.folder / "built" / "impsamp_fast"
    (package / "ops").mkdir()
    loader = shutil.copy(_metal.__file__, package / "ops")
    installed = runpy.run_path(loader)
    assert installed["_CSRC"] == package / "csrc"
    names = [path.stem for path in ROOT.glob("csrc/metal/*.metal")]
    assert names
    for name in names:
        assert installed["source"](name) == _metal.source(name)


def test_source_distribution_can_be_built_from(tmp_path):
    result = run_setup(
        "--quiet", "egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    csrc = {str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*.*") if path.is_file()}
    assert csrc | {"setup.py", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert not any(name.endswith((".pyc", ".so", "_built_with.py")) for name in names)
    for folder in ("bench", "docs", "examples", "tests"):
        there = {path for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {str(path.relative_to(ROOT)) for path in there if path.suffix != ".pyc"} <= names


# ----------------------------------------------------------------------- what an index page is told


def test_a_build_from_source_takes_any_torch_from_the_oldest(machine):
    machine.torch(None)
    told = machine.metadata()
    assert told["Version"] == isf.__version__
    assert "torch>=2.11" in told.get_all("Requires-Dist")


@pytest.mark.parametrize(("cuda", "variant"), [(None, "pt215"), ("13.2", "pt215cu13")])
def test_a_wheel_names_and_requires_the_torch_that_it_is_for(machine, cuda, variant):
    machine.torch(cuda)
    machine.nvcc("13.0")
    told = machine.metadata(IMPSAMP_WHEEL="1")
    assert told["Version"] == f"{isf.__version__}+{variant}"
    assert "torch==2.15.*" in told.get_all("Requires-Dist")


def test_the_address_of_the_repository_is_said_once(machine, tmp_path):
    """Then links and pictures of the README lead there; without one they are as in the tree."""
    machine.torch(None)
    readme = (ROOT / "README.md").read_text()
    if not re.search(r"^Repository =", (ROOT / "pyproject.toml").read_text(), re.MULTILINE):
        assert machine.metadata().get_payload().strip() == readme.strip()
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("impsamp_fast", "docs", "bench", "LICENSE", "README.md", "CHANGELOG.md"):
        (root / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "setup.py", root)
    url = "https://code.example/impsamp"
    text = re.sub(r"\nRepository = .*", "", (ROOT / "pyproject.toml").read_text())
    named = text.replace("[project.urls]", f'[project.urls]\nRepository = "{url}"')
    (root / "pyproject.toml").write_text(named)
    told = machine.metadata(root)
    assert told["Project-URL"] == f"Repository, {url}"
    links = re.findall(r"\]\((.+?)\)", told.get_payload())
    assert f"{url}/raw/HEAD/bench/results/two-circles.png" in links
    assert f"{url}/blob/HEAD/docs/index.md#build" in links
    assert all(link.startswith(("https://", "#")) for link in links)


# ------------------------------------------------------------------------------ what make repeats

STAND_IN = """#!/bin/sh
echo "$(basename $0) $*" >> {log}
case "$*" in "-m venv .venv")
    mkdir -p .venv/bin .venv/lib/python3.11/site-packages/torch
    touch .venv/pyvenv.cfg
    cp $0 .venv/bin/python
    cp $0 .venv/bin/pip
esac
case "$*" in *torch=*) touch .venv/lib/python3.11/site-packages/torch/version.py; esac
"""
VENV = "python -m venv .venv"
PIP = "pip install --upgrade pip"
TORCH = "pip install setuptools>=77 ninja torch==2.13.0"
BUILD = "pip install --no-build-isolation --editable .[dev]"


class Checkout:
    """A copy of what the Makefile reads, in which its commands are noted instead of run."""

    def __init__(self, folder):
        self.folder = folder / "checkout"
        self.log = folder / "log"
        self.python = folder / "python"
        self.python.write_text(STAND_IN.format(log=self.log))
        self.python.chmod(0o755)
        self.folder.mkdir()
        for name in ("Makefile", "setup.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        for name in ("csrc", "impsamp_fast"):
            ignore = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignore)

    def touch(self, name):
        """Make a file newer than everything made so far, whatever the file system's clock."""
        later = time.time() + 10
        os.utime(self.folder / name, (later, later))

    def make(self, *arguments):
        """The commands that `make` runs."""
        self.log.write_text("")
        command = ["make", "--no-print-directory", f"PYTHON={self.python}", *arguments]
        # The tests may themselves be run by a make that was given other variables.
        environment = {"PATH": os.environ["PATH"]}
        result = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_make_from_a_fresh_clone_and_again(checkout):
    demo = "python -m bench compare two-circles"
    assert checkout.make("demo") == [VENV, PIP, TORCH, BUILD, demo]
    assert checkout.make("demo") == [demo]


@pytest.mark.parametrize(
    "changed",
    [
        "csrc/bindings.cpp",
        "csrc/rowmath.h",
        "csrc/cuda/cuda.h",
        "csrc/cuda/row_stats.cu",
        "setup.py",
        "pyproject.toml",
        ".venv/lib/python3.11/site-packages/torch/version.py",
    ],
)
def test_make_builds_again_what_changed(checkout, changed):
    checkout.make("build")
    checkout.touch(changed)
    assert checkout.make("build") == [BUILD]


def test_make_installs_another_torch_when_asked(checkout):
    checkout.make("build")
    another = "pip install setuptools>=77 ninja torch==2.11.0"
    assert checkout.make("build", "TORCH=torch==2.11.0") == [PIP, another, BUILD]
    assert checkout.make("build", "TORCH=torch==2.11.0") == []


def test_make_clean_keeps_the_environment(checkout):
    checkout.make("build")
    extension = checkout.folder / "impsamp_fast" / "_C.so"
    extension.touch()
    assert checkout.make("clean") == []
    assert not extension.exists()
    assert checkout.make("build") == [BUILD]
