"""How much is measured on a GPU, and how a case is."""

from dataclasses import dataclass
from typing import Any

import torch

from bench.operators.gpu.timing import Timer, usable
from bench.operators.timing import Candidates

Case = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much is measured; smaller in tests."""

    timer: Timer
    large: int = 1024
    classes: tuple[int, ...] = (2, 10)
    wide: tuple[int, int] = (8192, 128_256)
    copied: int = 2**31  # bytes
    draws: tuple[int, ...] = (2**16, 2**18, 2**20, 2**22, 2**24)
    drawn: int = 2**14
    in_a_graph: int = 20  # calls
    steps: int = 64

    @classmethod
    def on(cls, device: torch.device) -> "Scale":
        """What fits a device; an Apple GPU shares the memory of its Mac."""
        timer = Timer(device)
        if device.type == "mps":
            return cls(timer, wide=(512, 128_256), copied=2**28, draws=(2**12, 2**16, 2**18))
        return cls(timer)

    @property
    def graphs(self) -> bool:
        """Whether steps can be made one launch."""
        return self.device.type != "mps"

    @property
    def device(self) -> torch.device:
        return self.timer.device


def case(scale: Scale, name: str, ours: Candidates, others: Candidates, **more: Any) -> Case:
    """A case that times our candidates and the peers that work here."""
    works, missing = usable(others)
    times = scale.timer.in_turns({**ours, **works})
    return {"name": name, "microseconds": times, "missing": missing, **more}
