"""What a measurement was made on: every result file carries it."""

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

import impsamp_fast
from bench.report.files import digest
from impsamp_fast import _C


def cpu_model() -> str:
    """The processor's marketing name, or the bare architecture where the system does not say."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """Machine and versions, as JSON-ready values. `threads` is torch's setting at the call."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "impsamp_fast": impsamp_fast.__version__,
    }


@cache
def extension_hash() -> str:
    """Of the compiled extension's file."""
    return digest(Path(_C.__file__))


@cache
def commit() -> str | None:
    """Of the source tree, "-dirty" behind if it is changed; None outside of a git repository."""
    root = Path(__file__).parents[2]
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        # In a folder of another repository it would be that one's.
        top, found = (
            subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "--show-toplevel"], describe)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found if Path(top).resolve() == root.resolve() else None


def one_line(machine: dict[str, Any]) -> str:
    """The machine as a sentence fragment for captions and tables."""
    threads = machine["threads"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {threads} thread{'s' * (threads != 1)}, "
        f"{machine['instruction_set']}, torch {machine['torch']}, Python {machine['python']}"
    )


def measured_on(result: dict[str, Any]) -> str:
    """Machine and commits of a result as a sentence fragment."""
    return f"{one_line(result['machine'])}; {commits_of(result)}"


def commits_of(result: dict[str, Any]) -> str:
    """At which commits a result was measured; older results do not say it."""
    commits = [commit for commit in result.get("commits", [result.get("commit")]) if commit]
    if not commits:
        return "commit not recorded"
    told = [commit[:10] + "-dirty" * commit.endswith("-dirty") for commit in commits]
    return f"commit{'s' * (len(told) > 1)} {', '.join(told)}"
