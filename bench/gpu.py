"""The operators on a GPU: `python -m bench.gpu`, one command of less than eight minutes.

Each part runs in a process of its own with a limit of time. A kernel that fails spoils the GPU for
the process that launched it and for no other: its part says so in the result, and the exit code.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import impsamp_fast
from bench import machine, report
from bench.files import read_json, write_json
from bench.gpu_parts import PARTS, Scale
from bench.gpu_timing import Timer
from bench.machine import one_line
from bench.ratios import OURS

RESULT = Path(__file__).parent / "results" / "gpu.json"
BUDGET_SECONDS = 465
NOT_MEASURED = (
    "Not measured yet: this needs an NVIDIA GPU, and none was at hand. `python -m bench gpu` "
    "measures it.\n"
)


def main(out: Path = RESULT, names: list[str] | None = None) -> None:
    """Measure all parts, print and write what was found; SystemExit if anything went wrong."""
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device: there is nothing to measure")
    if impsamp_fast.build_info()["cuda"] is None:
        raise SystemExit("impsamp_fast was built without CUDA, see IMPSAMP_CUDA in the README")
    result: dict[str, Any] = {"format": 1, "machine": describe(), "parts": {}}
    end = time.monotonic() + BUDGET_SECONDS
    for name in names or PARTS:
        part = run_part(name, min(PARTS[name].seconds, end - time.monotonic()))
        result["parts"][name] = part
        write_json(out, result)
        print(f"{name}: {part['seconds']} s {part['error'] or ''}", file=sys.stderr, flush=True)
    print(f"\n{markdown(result)}\n{out}")
    if problems(result):
        raise SystemExit(1)


def run_part(name: str, limit: float) -> dict[str, Any]:
    """A part in a process of its own: its result, how long it took, and what went wrong or None."""
    if limit <= 0:
        return {"seconds": 0.0, "error": f"not run: {BUDGET_SECONDS} s were spent"}
    begin = time.monotonic()
    part: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        file, log = Path(directory) / "part.json", Path(directory) / "log"
        command = [sys.executable, "-m", "bench.gpu", "--part", name, "--out", str(file)]
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
            cwd=Path(__file__).parents[1],
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
    write_json(out, PARTS[name].run(Scale(Timer(torch.device("cuda", 0)))))


def describe() -> dict[str, Any]:
    """The machine with its GPU, and what was built."""
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


def problems(result: dict[str, Any]) -> list[str]:
    """What went wrong: parts that failed and checks that did not hold, each as a sentence."""
    parts = result["parts"]
    found = [
        f"{name} failed: {part['error'].splitlines()[-1]}"
        for name, part in parts.items()
        if part["error"]
    ]
    found += [
        f"{check['what']} is {check['found']:.3g}, at most {check['allowed']:.3g} is right"
        for check in parts.get("correctness", {}).get("checks", [])
        if not check["ok"]
    ]
    return found


def markdown(result: dict[str, Any]) -> str:
    """The table, what was checked and counted, and the machine."""
    parts = result["parts"]
    cases = [case for part in parts.values() for case in part.get("cases", [])]
    lines = report.table(HEADINGS, [row for case in cases for row in rows_of(case)])
    counted = parts.get("synchronisations", {})
    if "steps" in counted:
        each = ", ".join(f"{name} {n}" for name, n in counted["synchronisations"].items())
        lines += ["", f"Device synchronisations in {counted['steps']} training steps: {each}."]
    checks = parts.get("correctness", {}).get("checks", [])
    passed = sum(check["ok"] for check in checks)
    lines += ["", f"Checked first: {passed} of {len(checks)} comparisons held."]
    if bandwidth := parts.get("wide", {}).get("copy_bandwidth"):
        lines.append(f"A device copy reads and writes {bandwidth / 1e12:.2f} TB/s.")
    lines += [f"- {problem}" for problem in problems(result)]
    lines.append(f"Measured on {gpu_line(result['machine'])}.")
    return "\n".join(lines) + "\n"


HEADINGS = ["what", "impsamp_fast", "beside", "takes", "ratio"]


def rows_of(case: dict[str, Any]) -> list[list[str]]:
    """One row per peer: our time, theirs, and theirs by ours."""
    times = {name: value["median"] for name, value in case["microseconds"].items()}
    ours = times.pop(OURS)
    return [
        [case["name"], duration(ours), peer, duration(theirs), f"{theirs / ours:.2f}"]
        for peer, theirs in times.items()
    ] or [[case["name"], duration(ours), "-", "-", "-"]]


def duration(microseconds: float) -> str:
    return f"{microseconds:.1f} µs" if microseconds < 1e3 else f"{microseconds / 1e3:.2f} ms"


def gpu_line(described: dict[str, Any]) -> str:
    return (
        f"{described['gpu']}, driver {described['driver']}, CUDA {described['cuda']}, "
        f"{one_line(described)}"
    )


def part_of_readme() -> str:
    return markdown(read_json(RESULT)) if RESULT.exists() else NOT_MEASURED


def command_line() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    run(args)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these (all)")
    parser.add_argument("--part", choices=PARTS, help="one part, in this process and as it is")


def run(args: argparse.Namespace) -> None:
    if args.part:
        measure(args.part, args.out)
    else:
        main(args.out, args.parts)


if __name__ == "__main__":
    command_line()
