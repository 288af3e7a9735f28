"""Executables that run a GPU's kernels on the host, with AddressSanitizer and UBSan on."""

import hashlib
import os
import subprocess
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "tests" / "shim"
FLAGS = [
    "-DISF_SHIM",
    "-std=c++17",
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
]
COMPILER = (sysconfig.get_config_var("CXX") or "c++").split()[0]


def build_server(
    folder: Path,
    sources: Iterable[Path],
    headers: Iterable[Path],
    flags: Iterable[str],
    unlinked: Iterable[str] = (),
) -> Path:
    """Compiles what has changed since the last time, and returns the executable's path.

    ``unlinked`` are flags that linking does not get.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [COMPILER, *FLAGS, *flags]
    compiling = [*command, *unlinked]
    shared = hashlib.sha256(" ".join(compiling).encode())
    for header in [*headers, *sorted(SHIM.glob("*.h"))]:
        shared.update(header.name.encode() + header.read_bytes())

    def compile_one(source: Path) -> Path:
        key = shared.copy()
        key.update(source.read_bytes())
        compiled = folder / f"{source.stem}-{key.hexdigest()[:16]}.o"
        if not compiled.exists():
            part = f"{compiled}.{os.getpid()}"
            _run([*compiling, "-x", "c++", "-c", str(source), "-o", part])
            os.replace(part, compiled)
        return compiled

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, sources))
    together = hashlib.sha256(" ".join(map(str, objects)).encode())
    server = folder / f"server-{together.hexdigest()[:16]}"
    if not server.exists():
        part = f"{server}.{os.getpid()}"
        _run([*command, *map(str, objects), "-o", part])
        os.replace(part, server)
    return server


def _run(command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{process.stderr}")
