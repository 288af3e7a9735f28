"""The operators on a GPU: `python -m bench gpu`, one command of less than eight minutes.

Each part runs in a process of its own with a limit of time. A kernel that fails spoils the GPU for
the process that launched it and for no other: its part says so in the result, and the exit code.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import impsamp_fast
from bench.operators.gpu.parts import PARTS
from bench.operators.gpu.scale import Scale
from bench.report import gpu_table, machine
from bench.report.files import RESULTS, read_json, write_json

RESULT = {"cuda": RESULTS / "gpu.json", "mps": RESULTS / "mps.json"}
BUDGET_SECONDS = 465


def device() -> torch.device:
    """The GPU that is measured; SystemExit if there is none."""
    if torch.backends.mps.is_available():
        return torch.device("mps", 0)
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device and no Apple GPU: there is nothing to measure")
    if impsamp_fast.build_info()["cuda"] is None:
        raise SystemExit("impsamp_fast was built without CUDA, see IMPSAMP_CUDA in docs/index.md")
    return torch.device("cuda", 0)


def main(out: Path | None = None, names: list[str] | None = None) -> None:
    """Measure all parts, print and write what was found; SystemExit if anything went wrong."""
    kind = device().type
    out = out or RESULT[kind]
    made_on = {"machine": describe(), "commit": machine.commit()}
    result: dict[str, Any] = {"format": 1, **made_on, "parts": {}}
    end = time.monotonic() + BUDGET_SECONDS
    for name in names or [name for name in PARTS if kind in PARTS[name].devices]:
        part = run_part(name, min(PARTS[name].seconds, end - time.monotonic()))
        result["parts"][name] = part
        write_json(out, result)
        print(f"{name}: {part['seconds']} s {part['error'] or ''}", file=sys.stderr, flush=True)
    print(f"\n{gpu_table.markdown(result)}\n{out}")
    if gpu_table.problems(result):
        raise SystemExit(1)


def run_part(name: str, limit: float) -> dict[str, Any]:
    """A part in a process of its own: its result, how long it took, and what went wrong or None."""
    if limit <= 0:
        return {"seconds": 0.0, "error": f"not run: {BUDGET_SECONDS} s were spent"}
    begin = time.monotonic()
    part: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        file, log = Path(directory) / "part.json", Path(directory) / "log"
        command = [sys.executable, "-m", "bench.operators.gpu", "--part", name, "--out", str(file)]
        error = failure_of(command, limit, log)
        if error is None:
            part = read_json(file)
    return {"seconds": round(time.monotonic() - begin, 1), "error": error, **part}


def failure_of(command: list[str], limit: float, log: Path) -> str | None:
    """Runs a command for so many seconds at most; how it failed, if it did.

    What it prints goes to a file, and what it started ends with it: a compiler's workers would keep
    a pipe open.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[3],
            start_new_session=True,
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"not done in {limit:.0f} s"
    if process.returncode:
        return (log.read_text().strip() or f"exit code {process.returncode}")[-2000:]
    return None


def measure(name: str, out: Path) -> None:
    """One part, in this process."""
    torch.manual_seed(0)
    write_json(out, PARTS[name].run(Scale.on(device())))


def describe() -> dict[str, Any]:
    """The machine with its GPU, and what was built."""
    if device().type == "mps":
        return {
            **machine.describe(),
            "gpu": machine.cpu_model(),  # one chip, and one name
            "gpu_memory": torch.mps.recommended_max_memory(),
            "driver": f"macOS {platform.mac_ver()[0]}",
            "cuda": None,
            "build": impsamp_fast.build_info(),
        }
    properties = torch.cuda.get_device_properties(0)
    return {
        **machine.describe(),
        "gpu": torch.cuda.get_device_name(0),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "gpu_memory": properties.total_memory,
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "build": impsamp_fast.build_info(),
    }


def driver_version() -> str | None:
    """As nvidia-smi says; None where that is missing."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = said.stdout.strip().splitlines()
    return lines[0].strip() if lines else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="a file of bench/results")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these (all)")
    parser.add_argument("--part", choices=PARTS, help="one part, in this process and as it is")


def run(args: argparse.Namespace) -> None:
    if args.part:
        measure(args.part, args.out)
    else:
        main(args.out, args.parts)
