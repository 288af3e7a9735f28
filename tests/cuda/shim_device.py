"""A CUDA device for tests on machines that have none: the kernels of csrc/cuda, run on the host.

:class:`ShimDevice` talks to an executable that a C++ compiler alone makes of the same ``.cu`` files
(tests/cuda/shim says how), with AddressSanitizer and UndefinedBehaviorSanitizer on. Tensors are CPU
tensors; their strides are kept, and every buffer ends where its last element does.
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor

from impsamp_fast import Selection
from tests.dtypes import DTYPES
from tests.methods import METHODS

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

# The order of csrc/problem.h.
STATISTICS = ["loss", "grad_norm", "p_true", "margin", "entropy", "p_wrong", "margin_lack"]
KINDS = ["with replacement", "without replacement", "deterministic"]
CORRECTIONS = ["none", "unbiased", "normalized"]  # and then a power
# The statistic behind a kind of score.
SCORES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "last_layer": "grad_norm",
    "p_wrong": "p_wrong",
    "margin": "margin_lack",
    "entropy": "entropy",
}

SUM_TOLERANCE = 2.0**-12  # of float32 class probabilities

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


@dataclass(frozen=True)
class Seed:
    """Where a draw's seed comes from: SeedSource of csrc/cuda/cuda.h; ``at`` are int64 [1]."""

    value: int = 0
    at: Tensor | None = None
    from_generator: bool = False
    offset: int = 0
    offset_at: Tensor | None = None


class DeviceDraw(NamedTuple):
    """What the draw kernels fill."""

    index: Tensor  # type: ignore[assignment]  # tuple.index gives way to the field
    prob: Tensor
    status: int


class ShimDevice:
    """The kernels on the host, in one process that is started on the first request.

    Args:
        order: which order threads run in between two barriers: 0 ascending, 1 descending, any
            other number shuffles them by it.
        multiprocessors: of the device that the launchers believe to run on.
        shift: see :class:`Message`.
        shared_memory: the bytes that a block may ask for; a launch with more fails.
    """

    def __init__(
        self,
        order: int = 0,
        multiprocessors: int = 8,
        shift: int = 0,
        shared_memory: int = 227 * 1024,
    ) -> None:
        self.order = order
        self.multiprocessors = multiprocessors
        self.shared_memory = shared_memory
        self.shift = shift
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ShimDevice":
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

    def row_statistics(
        self,
        logits: Tensor,
        target: Tensor,
        wanted: Iterable[str] = STATISTICS,
        *,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
    ) -> dict[str, Tensor]:
        """The wanted statistics [K] of logits [K, C]; the arguments are row_stats'."""
        message = Message("row_statistics", self.shift)
        wanted = list(wanted)
        outputs = [
            poisoned(logits.shape[:1], result_type(logits)) if name in wanted else None
            for name in STATISTICS
        ]
        self.add_rows(message, logits, target, outputs, label_smoothing, class_weight, ignore_index)
        soft = target.is_floating_point() or label_smoothing != 0
        message.integers(DTYPES.index(logits.dtype), soft, self.multiprocessors)
        self.send(message)
        return {
            name: output
            for name, output in zip(STATISTICS, outputs, strict=True)
            if output is not None
        }

    def add_rows(
        self,
        message: Message,
        logits: Tensor,
        target: Tensor,
        statistics: Iterable[Tensor | None],
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
    ) -> None:
        """Adds a RowProblem to a message, with its outputs in the order of STATISTICS."""
        hard = not target.is_floating_point()
        message.input(logits)
        message.integers(*logits.shape, *logits.stride())
        message.input(target if hard else None)
        message.integers(target.dtype == torch.int64, target.stride(0) if hard else 1)
        message.integers(ignore_index or 0, ignore_index is not None)
        message.input(None if hard else target.to(result_type(logits)).contiguous())
        message.real(SUM_TOLERANCE)
        message.input(None if class_weight is None else class_weight.to(result_type(logits)))
        message.real(label_smoothing)
        for statistic in statistics:
            message.output(statistic)

    def last_layer(self, features: Tensor, score: Tensor) -> Tensor:
        """score [K] * sqrt(1 + |features|^2), features [K, D]."""
        message = Message("last_layer", self.shift)
        self.add_features(message, features)
        message.output(score.clone())
        message.integers(score.dtype == torch.float64, len(score), self.multiprocessors)
        return self.send(message)[0]

    def add_features(self, message: Message, features: Tensor | None) -> None:
        """Adds Features to a message."""
        message.input(features)
        if features is None:
            message.integers(0, 0, 0)
        else:
            element = DTYPES.index(features.dtype)
            message.integers(element, features.stride(0), features.shape[1])

    def draw(
        self, weights: Tensor, n: int, method: str = "multinomial", seed: int | Seed = 0
    ) -> DeviceDraw:
        """n rows by contiguous weights [K], float32 or float64."""
        message = Message("draw", self.shift)
        message.input(weights)
        is_double = weights.dtype == torch.float64
        message.integers(is_double, len(weights), n, METHODS.index(method))
        self._add_seed(message, seed)
        index, status = poisoned((n,), torch.int64), poisoned((1,), torch.int64)
        prob = poisoned((n,), weights.dtype)
        for output in (index, prob, status):
            message.output(output)
        message.integers(self.multiprocessors)
        self.send(message)
        return DeviceDraw(index, prob, int(status))

    def draw_scan(self, weights: Tensor) -> list[Tensor]:
        """The largest of contiguous weights [k], how many are positive, and a status; [1] each."""
        message = Message("draw_scan", self.shift)
        message.input(weights)
        message.integers(weights.dtype == torch.float64, len(weights))
        message.output(poisoned((1,), weights.dtype))
        for _ in range(2):
            message.output(poisoned((1,), torch.int64))
        message.integers(self.multiprocessors)
        return self.send(message)

    def draw_total(self, weights: Tensor, largest: Tensor, rows: Tensor) -> Tensor:
        """The sum of a part's fixed points, [1]."""
        message = Message("draw_total", self.shift)
        self._add_part(message, weights, largest, rows)
        message.output(poisoned((1,), torch.int64))
        message.integers(self.multiprocessors)
        return self.send(message)[0]

    def draw_part(
        self,
        weights: Tensor,
        largest: Tensor,
        rows: Tensor,
        total: Tensor,
        before: Tensor,
        n: int,
        method: str,
        seed: Tensor,
    ) -> list[Tensor]:
        """The index [n] and prob [n] of a part."""
        message = Message("draw_part", self.shift)
        self._add_part(message, weights, largest, rows)
        message.integers(n, METHODS.index(method))
        for scalar in (total, before, seed):
            message.input(scalar)
        message.output(poisoned((n,), torch.int64))
        message.output(poisoned((n,), weights.dtype))
        message.integers(self.multiprocessors)
        return self.send(message)

    def draw_first(
        self,
        weights: Tensor,
        largest: Tensor,
        rows: Tensor,
        first_row: Tensor,
        n: int,
        method: str,
        seed: Tensor,
    ) -> list[Tensor]:
        """The keys [n] and rows [n] of a part that are the first of an order."""
        message = Message("draw_first", self.shift)
        self._add_part(message, weights, largest, rows)
        message.integers(n, METHODS.index(method))
        for given in (first_row, seed):
            message.input(given)
        for _ in range(2):
            message.output(poisoned((n,), torch.int64))
        message.integers(self.multiprocessors)
        return self.send(message)

    def draw_arrival_prob(
        self, weights: Tensor, largest: Tensor, rows: Tensor, next: Tensor
    ) -> Tensor:
        """The prob [n] of drawn rows of a race."""
        message = Message("draw_arrival_prob", self.shift)
        self._add_part(message, weights, largest, rows)
        message.input(next)
        message.output(poisoned(weights.shape, weights.dtype))
        message.integers(self.multiprocessors)
        return self.send(message)[0]

    @staticmethod
    def _add_part(message: Message, weights: Tensor, largest: Tensor, rows: Tensor) -> None:
        message.input(weights)
        message.integers(weights.dtype == torch.float64, len(weights))
        message.input(largest)
        message.input(rows)

    def select(
        self,
        logits: Tensor,
        target: Tensor,
        n: int,
        score: str = "grad_norm",
        method: str = "multinomial",
        correction: str | float = "unbiased",
        features: Tensor | None = None,
        smoothing: float = 0.0,
        seed: int | Seed = 0,
        *,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
    ) -> Selection:
        """The arguments are select's, for logits [K, C]."""
        message = Message("select", self.shift)
        dtype = result_type(logits)
        rows = {name: poisoned(logits.shape[:1], dtype) for name in {"loss", SCORES[score]}}
        statistics = [rows.get(name) for name in STATISTICS]
        self.add_rows(
            message, logits, target, statistics, label_smoothing, class_weight, ignore_index
        )
        soft = target.is_floating_point() or label_smoothing != 0
        message.integers(DTYPES.index(logits.dtype), soft, STATISTICS.index(SCORES[score]))
        copy = poisoned(logits.shape[:1], dtype) if score == "loss" else None
        message.output(copy)
        self.add_features(message, features)
        power = not isinstance(correction, str)
        rule = len(CORRECTIONS) if power else CORRECTIONS.index(str(correction))
        message.integers(n, METHODS.index(method), rule)
        message.real(float(correction) if power else 1.0)
        message.real(smoothing)
        self._add_seed(message, seed)
        index, status = poisoned((n,), torch.int64), poisoned((1,), torch.int64)
        weight, tau = poisoned((n,), dtype), poisoned((1,), dtype)
        for output in (index, weight, tau, status):
            message.output(output)
        message.integers(self.multiprocessors)
        self.send(message)
        scores = rows[SCORES[score]] if copy is None else copy
        return Selection(index, weight, scores, rows["loss"], tau.reshape(()), status.reshape(()))

    def smoothed(
        self, score: Tensor, smoothing: float = 0.0, ignored: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What rows are drawn by [K], and its tau, for contiguous scores [K]."""
        message = Message("smooth", self.shift)
        message.input(score)
        message.integers(score.dtype == torch.float64, len(score))
        message.input(ignored)
        message.real(smoothing)
        weights, tau = poisoned(score.shape, score.dtype), poisoned((1,), score.dtype)
        message.output(weights)
        message.output(tau)
        message.integers(self.multiprocessors)
        self.send(message)
        return weights, tau.reshape(())

    def corrected(
        self, prob: Tensor, drawn_by: Tensor, rows: int, kind: str, correction: str | float
    ) -> Tensor:
        """The weights of n drawn rows [n]."""
        message = Message("correct", self.shift)
        power = not isinstance(correction, str)
        rule = len(CORRECTIONS) if power else CORRECTIONS.index(str(correction))
        message.integers(len(prob), rows, KINDS.index(kind), rule)
        message.real(float(correction) if power else 1.0)
        message.integers(prob.dtype == torch.float64)
        message.input(drawn_by)
        message.output(prob.clone())
        message.integers(self.multiprocessors)
        return self.send(message)[0]

    @staticmethod
    def _add_seed(message: Message, seed: int | Seed) -> None:
        if isinstance(seed, int):
            seed = Seed(seed)
        signed = (seed.value + 2**63) % 2**64 - 2**63
        message.input(seed.at)
        message.integers(signed, seed.from_generator)
        message.input(seed.offset_at)
        message.integers(seed.offset)


def result_type(logits: Tensor) -> torch.dtype:
    """Of the statistics of these logits."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
