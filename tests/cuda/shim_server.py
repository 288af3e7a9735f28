"""The executable that runs the CUDA kernels on the host, and the requests that it takes.

A C++ compiler alone makes it of the ``.cu`` files of csrc/cuda (tests/cuda/shim says how), with
AddressSanitizer and UndefinedBehaviorSanitizer on.
"""

import ctypes
import hashlib
import os
import struct
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "tests" / "cuda" / "shim"
SOURCES = [
    SHIM / "server.cpp",
    *sorted((ROOT / "csrc" / "cuda").glob("*.cu")),
]
HEADERS = [
    *sorted((ROOT / "csrc").glob("*.h")),
    *sorted((ROOT / "csrc" / "cuda").glob("*.h")),
    *sorted((ROOT / "csrc" / "cuda").glob("*.cuh")),
    *sorted(SHIM.glob("*.h")),
]
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
    f"-I{SHIM}",
]
COMPILER = (sysconfig.get_config_var("CXX") or "c++").split()[0]

POISON = 0xA5


def build_server(folder: Path = ROOT / "build" / "shim") -> Path:
    """Compiles what has changed since the last time, and returns the executable's path."""
    folder.mkdir(parents=True, exist_ok=True)
    shared = hashlib.sha256(" ".join([COMPILER, *FLAGS]).encode())
    for header in HEADERS:
        shared.update(header.name.encode() + header.read_bytes())

    def compile_one(source: Path) -> Path:
        key = shared.copy()
        key.update(source.read_bytes())
        compiled = folder / f"{source.stem}-{key.hexdigest()[:16]}.o"
        if not compiled.exists():
            _run([COMPILER, *FLAGS, "-x", "c++", "-c", str(source), "-o", f"{compiled}.part"])
            os.replace(f"{compiled}.part", compiled)
        return compiled

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, SOURCES))
    together = hashlib.sha256(" ".join(map(str, objects)).encode())
    server = folder / f"server-{together.hexdigest()[:16]}"
    if not server.exists():
        link = [COMPILER, *FLAGS, *map(str, objects), "-o", f"{server}.part"]
        _run(link)
        os.replace(f"{server}.part", server)
    return server


def _run(command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{process.stderr}")


class Message:
    """One request; tests/cuda/shim/request.h has its format.

    ``shift`` puts every buffer that many elements behind an aligned address.
    """

    def __init__(self, name: str, shift: int = 0) -> None:
        self._parts = [struct.pack("<q", len(name)), name.encode()]
        self._shift = shift
        self.outputs: list[Tensor] = []

    def integers(self, *values: int) -> None:
        self._parts += [struct.pack("<cq", b"i", int(value)) for value in values]

    def real(self, value: float) -> None:
        self._parts.append(struct.pack("<cd", b"d", value))

    def input(self, x: Tensor | None) -> None:
        """The memory that ``x`` spans, from its first element to its last; strides go extra."""
        if x is None:
            self._parts.append(b"n")
            return
        last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
        self._buffer(b"b", x.as_strided((last + 1 if x.numel() else 0,), (1,)))

    def output(self, x: Tensor | None) -> None:
        """A contiguous tensor that the kernels may read and write; the reply fills ``outputs``."""
        if x is None:
            self._parts.append(b"n")
            return
        self._buffer(b"o", x)
        self.outputs.append(x)

    def _buffer(self, tag: bytes, flat: Tensor) -> None:
        size = flat.numel() * flat.element_size()
        shift = self._shift * flat.element_size()
        self._parts += [struct.pack("<cqq", tag, size, shift), _bytes_of(flat)]

    def encode(self) -> bytes:
        return b"".join(self._parts)


def _bytes_of(x: Tensor) -> bytes:
    assert x.is_contiguous()
    return ctypes.string_at(x.data_ptr(), x.numel() * x.element_size()) if x.numel() else b""


def poisoned(shape: Iterable[int], dtype: torch.dtype) -> Tensor:
    """A tensor whose every byte says that nobody wrote it."""
    x = torch.empty(tuple(shape), dtype=dtype)
    ctypes.memset(x.data_ptr(), POISON, x.numel() * x.element_size())
    return x


Server = TypeVar("Server", bound="ShimServer")


class ShimServer:
    """One process, which is started on the first request.

    Args:
        order: which order threads run in between two barriers: 0 ascending, 1 descending, any
            other number shuffles them by it.
        shared_memory: the bytes that a block may ask for; a launch with more fails.
    """

    def __init__(self, order: int, shared_memory: int) -> None:
        self.order = order
        self.shared_memory = shared_memory
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: Server) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.communicate()
            self._process = None
        self._errors.close()

    def send(self, message: Message) -> list[Tensor]:
        """Runs a request and returns its outputs; raises RuntimeError with what went wrong.

        An output that has an unwritten element is an error too.
        """
        if self._process is None:
            environment = os.environ | {
                "ISF_SHIM_ORDER": str(self.order),
                "ISF_SHIM_SHARED": str(self.shared_memory),
            }
            self._process = subprocess.Popen(
                [str(build_server())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(message.encode())
            stdin.flush()
        except BrokenPipeError:
            self._raise_end()
        reply = stdout.read(8)
        if len(reply) < 8:
            self._raise_end()
        (error,) = struct.unpack("<q", reply)
        for output in message.outputs:
            contents = stdout.read(output.numel() * output.element_size())
            if contents:
                ctypes.memmove(output.data_ptr(), contents, len(contents))
        if error != 0:
            raise RuntimeError(f"a launch failed with CUDA error {error}")
        for number, output in enumerate(message.outputs):
            size = output.element_size()
            unwritten = output.flatten().view(torch.uint8).view(-1, size).eq(POISON).all(1)
            if unwritten.any():
                where = unwritten.nonzero().flatten().tolist()[:5]
                raise RuntimeError(f"output {number} is not written at {where}")
        return message.outputs

    def _raise_end(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        raise RuntimeError(f"the kernels ended the process:\n{text[:6000]}")
