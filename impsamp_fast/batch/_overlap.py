"""The scoring pass of the next large batch beside the training step of this one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.optimizer import register_optimizer_step_pre_hook

from impsamp_fast.batch._nested import tensors_of

_Result = TypeVar("_Result")


class Overlap:
    """Runs scoring passes on a CUDA stream of their own; elsewhere they run when they are called.

    A pass reads the weights as the last step left them: each ``torch.optim.Optimizer`` waits for it
    before it changes them. Batch norm's statistics, which training changes in its forward pass, are
    read from a copy.
    """

    def __init__(self) -> None:
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._done: tuple[torch.device, torch.cuda.Event] | None = None

    def __enter__(self) -> "Overlap":
        self._hook = register_optimizer_step_pre_hook(lambda *_: self.wait())
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def run(
        self, models: list[Any], batch: Any, device: torch.device, score: Callable[[], _Result]
    ) -> _Result:
        """Begins a scoring pass; ``wait`` comes before its results.

        Args:
            models: whose statistics the pass reads, as far as they are modules.
            batch: nested tensors that it reads.
            device: where it runs.
            score: the pass.
        """
        if device.type != "cuda":
            return score()
        stream = self._streams.get(device)
        if stream is None:
            stream = self._streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with _own_statistics(models) as statistics:
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                result = score()
        for tensor in (*tensors_of(batch), *statistics):
            if tensor.is_cuda:
                tensor.record_stream(stream)
        self._done = device, stream.record_event()
        return result

    def wait(self) -> None:
        """What is launched from now on comes after the last scoring pass."""
        if self._done is not None:
            device, event = self._done
            torch.cuda.current_stream(device).wait_event(event)

    def take(self, results: Iterable[Tensor | None]) -> None:
        """Waits for results, which are then the current stream's."""
        self.wait()
        for tensor in results:
            if tensor is not None and tensor.is_cuda:
                tensor.record_stream(torch.cuda.current_stream(tensor.device))


@contextmanager
def _own_statistics(models: list[Any]) -> Iterator[list[Tensor]]:
    """Calls of the models read copies, which are given, of batch norm's statistics."""
    modules = {part for m in models if isinstance(m, nn.Module) for part in m.modules()}
    norms = [module for module in modules if isinstance(module, _NormBase)]
    before = [dict(norm._buffers) for norm in norms]
    copies: list[Tensor] = []
    try:
        for norm, buffers in zip(norms, before, strict=True):
            for name, buffer in buffers.items():
                if buffer is not None:
                    copies.append(buffer.clone())
                    norm._buffers[name] = copies[-1]
        yield copies
    finally:
        for norm, buffers in zip(norms, before, strict=True):
            norm._buffers.update(buffers)
