"""Requests to the executables that run a GPU's kernels on the host, and their processes."""

import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch
from torch import Tensor

POISON = 0xA5


class Message:
    """One request; tests/shim/request.h has its format.

    ``shift`` puts every buffer that many elements behind an aligned address.
    """

    def __init__(self, name: str, shift: int = 0) -> None:
        self._parts = [struct.pack("<q", len(name)), name.encode()]
        self._shift = shift
        self._places: list[tuple[int, int]] = []
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

    def constant(self, contents: bytes) -> None:
        """Bytes that the kernels only read."""
        self._parts += [struct.pack("<cqq", b"b", len(contents), 0), contents]

    def memory(self, x: Tensor) -> None:
        """What ``x`` spans, which the kernels may write to; twice the same is the same buffer."""
        last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
        span = x.as_strided((last + 1 if x.numel() else 0,), (1,))
        place = (span.data_ptr(), span.numel() * span.element_size())
        if place in self._places:
            self._parts.append(struct.pack("<cq", b"s", self._places.index(place)))
            return
        self._places.append(place)
        self._buffer(b"o", span)
        self.outputs.append(span)

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


Started = TypeVar("Started", bound="Server")


class Server:
    """One process, which is started on the first request.

    Args:
        build: makes the executable.
        order: which order threads run in between two barriers: 0 ascending, 1 descending, any
            other number shuffles them by it.
        settings: further environment variables of the process.
    """

    def __init__(self, build: Callable[[], Path], order: int, **settings: str) -> None:
        self.order = order
        self._build = build
        self._settings = settings
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: Started) -> Started:
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
        self.run(message)
        for number, output in enumerate(message.outputs):
            size = output.element_size()
            unwritten = output.flatten().view(torch.uint8).view(-1, size).eq(POISON).all(1)
            if unwritten.any():
                where = unwritten.nonzero().flatten().tolist()[:5]
                raise RuntimeError(f"output {number} is not written at {where}")
        return message.outputs

    def run(self, message: Message) -> None:
        """Runs a request, which fills its outputs; raises RuntimeError with what went wrong."""
        if self._process is None:
            environment = os.environ | {"ISF_SHIM_ORDER": str(self.order)} | self._settings
            self._process = subprocess.Popen(
                [str(self._build())],
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
            raise RuntimeError(f"a launch failed with error {error}")

    def _raise_end(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        raise RuntimeError(f"the kernels ended the process:\n{text[:6000]}")
