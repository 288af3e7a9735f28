"""What ptxas says each CUDA kernel takes: python cuda_resources.py LOG, of a build.

Registers decide how many threads are in flight. A stack frame, of which spilled registers are part,
is memory traffic that no source line shows: where one is not known to be harmless this fails.
"""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

# Kernels that may have a stack frame, by a part of their names, and why.
HARMLESS = {
    "cub::": "CUB's own, as NVIDIA tuned them",
    "<double": "float64 is there to compare with; no network that is in a hurry is trained in it",
}

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(sm_\w+)'")
PROPERTIES = re.compile(r"Function properties for (\w+)")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")


class Resources(NamedTuple):
    """Of one kernel on one architecture."""

    name: str
    architecture: str
    registers: int
    stack: int
    spilled: int

    @property
    def is_fine(self) -> bool:
        return self.stack == 0 or any(part in self.name for part in HARMLESS)


def demangled(names: list[str]) -> list[str]:
    """As a C++ programmer wrote them, without parameters."""
    command, listing = ["c++filt", "--no-params"], "\n".join(names)
    result = subprocess.run(command, input=listing, capture_output=True, text=True, check=True)
    return result.stdout.replace("(anonymous namespace)::", "").splitlines()


def parse(log: str) -> list[Resources]:
    """The kernels in the output of a build with -Xptxas=-v, in the order they were compiled."""
    found: list[tuple[str, str, int, int, int]] = []
    name = architecture = described = ""
    frames: dict[str, tuple[int, int]] = {}
    for line in log.splitlines():
        if match := ENTRY.search(line):
            name, architecture = match.groups()
            frames = {}
        elif match := PROPERTIES.search(line):
            described = match[1]
        elif match := FRAME.search(line):
            frames[described] = int(match[1]), int(match[2]) + int(match[3])
        elif (match := USED.search(line)) and name:
            found.append((name, architecture, int(match[1]), *frames[name]))
            name = ""
    names = demangled([kernel for kernel, *_ in found])
    return [Resources(name, *rest) for name, (_, *rest) in zip(names, found, strict=True)]


def report(kernels: list[Resources]) -> str:
    """A line for each kernel: its registers on each architecture, and what it keeps in memory."""
    by_name: dict[str, dict[str, Resources]] = defaultdict(dict)
    for kernel in kernels:
        by_name[kernel.name][kernel.architecture] = kernel
    architectures = sorted({kernel.architecture for kernel in kernels})
    lines = ["registers (stack frame + spilled bytes)", "  ".join(architectures) + "  kernel"]
    for name, on in sorted(by_name.items()):
        cells = []
        for architecture in architectures:
            kernel = on.get(architecture)
            cell = str(kernel.registers) if kernel else "-"
            if kernel and kernel.stack:
                cell += f" ({kernel.stack} + {kernel.spilled})"
            cells.append(cell.rjust(len(architecture)))
        lines.append("  ".join(cells) + "  " + name)
    return "\n".join(lines)


def main(path: str) -> str | None:
    """Prints the report; returns what is wrong."""
    kernels = parse(Path(path).read_text())
    if not kernels:
        return f"{path} names no kernel"
    print(report(kernels))
    bad = sorted({kernel.name for kernel in kernels if not kernel.is_fine})
    return "a stack frame in " + ", ".join(bad) if bad else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
