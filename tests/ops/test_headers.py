"""The shared headers keep to what C++14, nvcc and, but for problem.h, Metal have in common."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
COMPILER = (sysconfig.get_config_var("CXX") or "c++").split()[0]
FOR_METAL = [
    *("rowmath.h", "twofloat.h", "target.h", "philox.h", "cdf.h", "power.h", "choice.h"),
    "correction.h",
]
for_metal = pytest.mark.parametrize("header", FOR_METAL)
shared = pytest.mark.parametrize("header", [*FOR_METAL, "problem.h"])


def includes(header: str) -> set[str]:
    """Everything that a header includes, also through headers of csrc."""
    text = (CSRC / header).read_text()
    names = set(re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, re.MULTILINE))
    return names.union(*(includes(name) for name in names if (CSRC / name).is_file()))


def code(header: str) -> str:
    """The header and what it includes of csrc, without comments."""
    files = [name for name in sorted({header, *includes(header)}) if (CSRC / name).is_file()]
    text = "\n".join((CSRC / name).read_text() for name in files)
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def code_for_metal(header: str) -> list[str]:
    """The lines that remain where __METAL_VERSION__ is defined and nothing else is."""
    lines, kept = [], []
    for line in code(header).splitlines():
        directive = re.match(r"\s*#\s*(if|ifdef|ifndef|else|endif)\b(.*)", line)
        if not directive:
            lines += [line] if all(kept) else []
        elif directive[1] == "endif":
            kept.pop()
        elif directive[1] == "else":
            kept[-1] = not kept[-1]
        else:
            defined = "__METAL_VERSION__" in directive[2]
            negated = "!" in directive[2] or directive[1] == "ifndef"
            kept.append(defined != negated)
    return lines


@shared
def test_only_the_c_library_is_included(header: str) -> None:
    own = {path.name for path in CSRC.glob("*.h")}
    assert includes(header) - own <= {"stdint.h", "math.h", "string.h", "metal_stdlib"}


@shared
def test_no_torch_no_containers_no_exceptions(header: str) -> None:
    banned = r"\b(std|at|c10|torch)::|\b(throw|try|catch|new|delete|virtual|dynamic_cast)\b"
    assert not re.search(banned, code(header))


@for_metal
def test_no_double_where_metal_reads(header: str) -> None:
    assert not [line for line in code_for_metal(header) if re.search(r"\bdouble\b", line)]


@shared
def test_compiles_alone_as_cpp14(header: str) -> None:
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
    dialect = ["-std=c++14", "-fno-exceptions", "-fno-rtti"]
    process = subprocess.run(
        [COMPILER, *dialect, *strict, "-fsyntax-only", f"-I{CSRC}", "-x", "c++", "-"],
        input=f'#include "{header}"\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
