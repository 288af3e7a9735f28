"""The limit of a launch's shared memory: raised once for each kernel and device, by any thread."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "cuda" / "fake_runtime"
COMPILER = (sysconfig.get_config_var("CXX") or "c++").split()[0]


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_no_thread_lowers_what_another_needs(tmp_path, sanitizer):
    program = tmp_path / "launches"
    command = [COMPILER, "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
    command += [f"-fsanitize={sanitizer}", f"-I{FAKE}", "-o", str(program)]
    sources = [FAKE / "launches.cpp", ROOT / "csrc" / "cuda" / "shared_memory.cpp"]
    subprocess.run([*command, *map(str, sources)], check=True)
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "0 wrong\n"), result.stderr
