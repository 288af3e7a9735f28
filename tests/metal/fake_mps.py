"""``torch.mps`` without a Mac: shaders are compiled for the host, and really run.

A source is what ``torch.mps.compile_shader`` gets on a Mac. It becomes a process of its own, with
AddressSanitizer and UBSan on (tests/shim); tests/metal/shim is what it sees of Metal. What a launch
takes and refuses is what torch's does. Tensors are CPU tensors.
"""

import functools
import hashlib
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from impsamp_fast.ops import _metal
from tests.shim.building import ROOT, build_server
from tests.shim.process import Message, Server

SHIM = ROOT / "tests" / "metal" / "shim"
FOLDER = ROOT / "build" / "metal-shim"
FLAGS = [
    "-D__METAL_VERSION__=310",
    "-fstrict-aliasing",
    "-Wno-attributes",
    # clang's, which a Mac compiles with
    "-Wno-unknown-attributes",
    "-Wno-unused-function",
    "-Wno-unneeded-internal-declaration",
    "-Wno-unused-const-variable",
    "-Wno-unused-parameter",
    f"-I{SHIM}",
    f"-I{ROOT / 'tests' / 'shim'}",
]
REFUSALS = ["", "no such kernel", "wrong number of arguments", "no grid of whole SIMD groups"]


# Instead of the sanitizers: tests/metal/shim/races.h looks for races.
RACES = ["-fno-sanitize=address,undefined", "-fno-threadsafe-statics", "-DISF_SHIM_RACES"]


def build_library(source: str, races: bool = False) -> Path:
    """The executable that runs the kernels of a source."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = FOLDER / f"{name}.cpp"
    path.write_text(f'{source}\n#include "server.h"\n')
    headers = [SHIM / name for name in ("metal_stdlib", "races.h", "server.h")]
    if races:
        return build_server(FOLDER, [path], headers, [*FLAGS, *RACES], ["-fsanitize=thread"])
    return build_server(FOLDER, [path], headers, FLAGS)


class FakeLibrary:
    """What ``torch.mps.compile_shader`` returns.

    Args:
        source: of the kernels.
        mps: the device.
    """

    def __init__(self, source: str, mps: "FakeMPS") -> None:
        self._source = source
        self._server = Server(lambda: build_library(source, mps.races), mps.order, **mps.settings)
        self._mps = mps
        self.launches: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)

        def launch(
            *arguments: Any, threads: int | None = None, group_size: int | None = None
        ) -> None:
            if threads is None or group_size is None:
                raise RuntimeError("this project's launches say how many threads they want")
            message = Message(name, self._mps.shift)
            message.integers(threads, group_size, len(arguments))
            for argument in arguments:
                self._add(message, argument)
            self.launches.append(name)
            self._run(message, name)

        return launch

    def __dir__(self) -> list[str]:
        return re.findall(r"^ISF_KERNEL\((\w+)", self._source, re.MULTILINE)

    def close(self) -> None:
        self._server.close()

    def _run(self, message: Message, name: str) -> None:
        try:
            self._server.run(message)
        except RuntimeError as error:
            number = str(error).rpartition(" ")[2]
            if str(error).startswith("a launch failed"):
                raise RuntimeError(f"{name}: {REFUSALS[int(number)]}") from None
            raise

    @staticmethod
    def _add(message: Message, argument: Any) -> None:
        if isinstance(argument, Tensor):
            message.memory(argument)
        elif isinstance(argument, (tuple, list)) and argument and type(argument[0]) is int:
            message.constant(struct.pack(f"<{len(argument)}q", *argument))
        elif isinstance(argument, bool):
            raise RuntimeError("torch takes a bool for an int64")
        elif isinstance(argument, int):
            message.constant(struct.pack("<q", argument))
        elif isinstance(argument, float):
            message.constant(struct.pack("<f", argument))
        else:
            raise RuntimeError("Unsupported argument type")


class FakeMPS:
    """Stands for ``torch.mps`` while it is active; keeps what it has compiled.

    Args:
        order: in which threads run, see :class:`Server`.
        races: whether races are looked for, by tests/metal/shim/races.h instead of the sanitizers.
        without: a barrier, or flags of one, that are left out (tests/metal/shim/metal_stdlib).
        flush: whether subnormal numbers are flushed to zero.
    """

    def __init__(
        self, order: int = 0, races: bool = False, without: str | None = None, flush: bool = False
    ) -> None:
        self.order = order
        self.races = races
        self.settings = {} if without is None else {"ISF_SHIM_WITHOUT": without}
        if flush:
            self.settings["ISF_SHIM_FLUSH"] = "1"
        self.shift = 0  # elements by which every buffer lies behind an aligned address
        self.libraries: list[FakeLibrary] = []
        self._library = functools.cache(_metal.library.__wrapped__)

    def compile_shader(self, source: str) -> FakeLibrary:
        self.libraries.append(FakeLibrary(source, self))
        return self.libraries[-1]

    @contextmanager
    def active(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.mps, "compile_shader", self.compile_shader, raising=False)
            patch.setattr(_metal, "library", self._library)
            yield

    @property
    def launches(self) -> list[str]:
        """The kernels that have run, those of each library in their order."""
        return [name for library in self.libraries for name in library.launches]

    def forget_launches(self) -> None:
        for library in self.libraries:
            library.launches.clear()

    def close(self) -> None:
        for library in self.libraries:
            library.close()


MPS = torch._C.DispatchKeySet(torch._C.DispatchKey.MPS)


def on_mps(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs what is registered for an operator on MPS, for tensors that are on the CPU."""
    return func.redispatch(MPS, *args, **kwargs)


class ByMetal(TorchDispatchMode):
    """The operators run on the CPU's tensors what is registered for them on MPS."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        run = on_mps if _metal.implements(func) else lambda f, a, k: f(*a, **k)
        return run(func, args, kwargs or {})
