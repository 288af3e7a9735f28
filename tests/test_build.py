"""The build: what setup.py refuses, what is shipped, and what `make` does and does not repeat.

No test compiles. The Makefile runs with stand-ins for python and pip that only note their calls.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import impsamp_fast as isf

ROOT = Path(__file__).resolve().parents[1]


def run_setup(*arguments, **options):
    command = [sys.executable, *options.pop("flags", []), str(ROOT / "setup.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


# ------------------------------------------------------------------------------- what it refuses


@pytest.fixture
def only_setuptools(tmp_path):
    """The environment of a Python that has setuptools and nothing else, as in an isolated build."""
    for package in ("setuptools", "_distutils_hack"):
        (tmp_path / package).symlink_to(Path(find_spec(package).origin).parent)
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


def test_source_distribution_can_be_built_from(tmp_path):
    result = run_setup(
        "--quiet", "egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    csrc = {str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*.*") if path.is_file()}
    assert csrc | {"setup.py", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert "impsamp_fast/_built_with.py" not in names


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
