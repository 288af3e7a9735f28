"""Importing the package: its public names, what it says of its build, and when it refuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import impsamp_fast as isf

PACKAGE = Path(isf.__file__).parent
BUILT_WITH_2_13 = """
VERSION = "0.1.0"
MINIMUM_TORCH = "2.11"
TORCH = "2.13.0"
CUDA = None
"""


@pytest.fixture
def copy(tmp_path):
    """A package with the real loading code, but with an extension that only tells it was loaded."""
    package = tmp_path / "impsamp_fast"
    package.mkdir()
    shutil.copy(PACKAGE / "_extension.py", package)
    (package / "__init__.py").write_text("from impsamp_fast._extension import build_info\n")
    (package / "_built_with.py").write_text(BUILT_WITH_2_13)
    (package / "_C.py").write_text('print("loaded")\n')
    return tmp_path


def install_torch(folder, version, cuda=None):
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(
        f"from types import SimpleNamespace\n__version__ = {version!r}\n"
        f"version = SimpleNamespace(cuda={cuda!r})\n"
    )


def rebuild(folder, **facts):
    """Say other things of how the extension was built."""
    lines = [f"{name} = {value!r}\n" for name, value in facts.items()]
    (folder / "impsamp_fast" / "_built_with.py").write_text(BUILT_WITH_2_13 + "".join(lines))


def import_in(folder):
    """Import the package found in `folder` by a Python that has nothing else installed."""
    command = [sys.executable, "-S", "-c", "import impsamp_fast"]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )


def refusal(folder):
    """The one line with which the import is refused; the extension must not have been loaded."""
    result = import_in(folder)
    assert result.returncode == 1
    assert result.stdout == ""
    *_, last = result.stderr.splitlines()
    return last.removeprefix("ImportError: ")


def test_all_lists_every_public_name():
    public = {
        name
        for name, value in vars(isf).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public | {"__version__"} == set(isf.__all__)


def test_build_info():
    info = isf.build_info()
    assert info["version"] == isf.__version__
    assert info["torch"] == info["torch_running"] == torch.__version__
    assert info["cuda"] is None or set(info["cuda"]) == {"version", "nvcc", "architectures"}
    assert info["compiler"]
    assert "-ffp-contract=off" in info["flags"]
    assert "baseline" in info["levels"]
    assert info["cpu_capability"] == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize("level", ["default", "avx2"])
def test_build_info_names_the_level_in_use(level):
    code = "import impsamp_fast as isf; print(isf.build_info()['cpu_capability'].lower())"
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": level}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=PACKAGE.parent, env=environment, capture_output=True, text=True
    )
    assert result.stdout == f"{level}\n", result.stderr


# A second OpenMP library would have threads of its own, which torch.set_num_threads cannot rule.
THREADS = """
import os, torch, impsamp_fast as isf

torch.set_num_threads(1)
logits, target = torch.zeros(4096, 1000), torch.zeros(4096, dtype=torch.int64)
for number in (1, 1, 3):
    torch.set_num_threads(number)
    isf.row_stats(logits, target)
    print(len(os.listdir("/proc/self/task")), end=" ")
with open("/proc/self/maps") as maps:
    files = {line.split()[-1].rpartition("/")[2] for line in maps}
print(len({name for name in files if name.startswith(("libgomp", "libomp", "libiomp"))}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_threads_are_torch_s():
    command = [sys.executable, "-c", THREADS]
    result = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    before, with_one, with_three, openmp_libraries = map(int, result.stdout.split())
    assert (with_one - before, with_three - before) == (0, 2)
    assert openmp_libraries == 1


@pytest.mark.parametrize("version", ["2.13.0", "2.13.1", "2.13.0+cpu", "2.13.2+cu130"])
def test_the_release_it_was_built_with_is_accepted(copy, version):
    install_torch(copy, version)
    result = import_in(copy)
    assert (result.returncode, result.stdout) == (0, "loaded\n"), result.stderr


def test_missing_torch(copy):
    assert refusal(copy) == "impsamp_fast needs torch; type: pip install torch"


def test_too_old_torch(copy):
    install_torch(copy, "2.9.1+cpu")
    assert refusal(copy) == (
        "impsamp_fast needs torch 2.11 or later, and 2.9.1+cpu is installed; "
        "type: pip install --upgrade 'torch>=2.11' && "
        "pip install --no-build-isolation . # in the source folder of impsamp_fast"
    )


@pytest.mark.parametrize("version", ["2.13.0a0+git1234567", "2.14.0", "3.13.0"])
def test_another_torch(copy, version):
    install_torch(copy, version)
    assert refusal(copy) == (
        f"impsamp_fast 0.1.0 was built with torch 2.13.0, and {version} is installed; "
        "to build it again, type: "
        "pip install --no-build-isolation . # in the source folder of impsamp_fast"
    )


def test_a_torch_from_before_a_release_is_no_other(copy):
    rebuild(copy, TORCH="2.14.0a0+git1234567")
    install_torch(copy, "2.14.0")
    assert "was built with torch 2.14.0a0+git1234567, and 2.14.0 is" in refusal(copy)


@pytest.mark.parametrize("cuda", [None, "12.8"])
def test_a_torch_of_another_cuda(copy, cuda):
    rebuild(copy, TORCH="2.13.0+cu130", CUDA={"version": "13.0"})
    install_torch(copy, "2.13.0", cuda)
    assert "was built with torch 2.13.0+cu130, and 2.13.0 is" in refusal(copy)


def test_a_torch_of_the_same_cuda(copy):
    rebuild(copy, TORCH="2.13.0+cu130", CUDA={"version": "13.0"})
    install_torch(copy, "2.13.1+cu132", "13.2")
    assert import_in(copy).stdout == "loaded\n"


def test_a_wheel_beside_another_torch_says_which_it_is_for(copy):
    rebuild(copy, VERSION="0.1.0+pt213")
    install_torch(copy, "2.14.0")
    assert refusal(copy) == (
        "impsamp_fast 0.1.0+pt213 was built with torch 2.13.0, and 2.14.0 is installed; "
        "install the wheel for that torch, or type: pip install 'torch==2.13.*'"
    )


def test_a_source_tree_names_itself_in_the_command(copy):
    install_torch(copy, "2.14.0")
    (copy / "setup.py").touch()
    assert refusal(copy).endswith(f"type: pip install --no-build-isolation -e {copy}")


@pytest.mark.parametrize("missing", ["_C.py", "_built_with.py"])
def test_not_built(copy, missing):
    install_torch(copy, "2.13.0")
    (copy / "impsamp_fast" / missing).unlink()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert refusal(copy) == (
        f"impsamp_fast has not been built for Python {python}; type: "
        "pip install --no-build-isolation . # in the source folder of impsamp_fast"
    )
