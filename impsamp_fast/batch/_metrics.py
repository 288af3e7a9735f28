"""Numbers for a logger, read when the device has them."""

from collections import deque

import torch
from torch import Tensor

from impsamp_fast._readback import Readback
from impsamp_fast.batch.observation import Observation
from impsamp_fast.batch.step_time import StepTime

_QUANTILES = (0.05, 0.5, 0.95)
_PARTS = ("whole", "scoring", "selection", "gather", "second_model", "training")

# With more classes than this the shares of the single ones are left out.
_MANY_CLASSES = 32

# A larger number is no class: a score function's targets may be times, say.
_MOST_CLASSES = 65535

# Readings on their way at most: where the host is far ahead of the device, others are left out.
_MOST = 4


class Reading:
    """A step whose tensors are on their way to the host."""

    def __init__(self, seen: Observation) -> None:
        self.step = seen.step
        self._seen = seen
        tensors = {"score": seen.score, "loss": seen.loss, "tau": seen.tau}
        tensors |= {"row": seen.row, "weight": seen.weight}
        tensors["y"] = seen.y if isinstance(seen.y, Tensor) else None
        self._coming = {
            name: Readback(tensor.detach())
            for name, tensor in tensors.items()
            if tensor is not None
        }

    @property
    def has_arrived(self) -> bool:
        """Whether nobody has to wait."""
        return all(tensor.has_arrived for tensor in self._coming.values())

    def get(self, name: str) -> Tensor | None:
        """One of the tensors, on the CPU."""
        return self._coming[name].get() if name in self._coming else None

    def numbers(self) -> dict[str, float]:
        """What they come to."""
        weight, tau = self._coming["weight"].get().double(), self.get("tau")
        own = [row for row in self._coming["row"].get().tolist() if row >= 0]
        numbers = {
            "step": float(self.step),
            "importance": float(self._seen.importance),
            "uniform_share": self._seen.uniform_share,
            "effective_size": float(weight.sum() ** 2 / weight.square().sum()),
            "weight/max": float(weight.max()),
            "distinct": len(set(own)) / max(1, len(own)),
        }
        if tau is not None:
            numbers["tau"] = float(tau)
        for name in ("score", "loss"):
            numbers |= _distribution(name, self.get(name))
        return numbers | _classes(self.get("y"))


class Metrics:
    """The numbers of the last step that the device has finished."""

    def __init__(self) -> None:
        self._coming: deque[Reading] = deque()
        self._latest: dict[str, float] = {}

    def read(self, seen: Observation | None, wait: bool) -> dict[str, float]:
        """Takes in a step; the numbers of the last one that has come."""
        if seen is not None and (wait or len(self._coming) < _MOST):
            self._coming.append(Reading(seen))
        last = None
        while self._coming and (wait or self._coming[0].has_arrived):
            last = self._coming.popleft()
        if last is not None:
            self._latest = last.numbers()
        return dict(self._latest)

    def __reduce__(self) -> tuple[type["Metrics"], tuple[()]]:
        """A copy has nothing under way."""
        return Metrics, ()


def _distribution(name: str, values: Tensor | None) -> dict[str, float]:
    """Mean, quantiles and maximum of those that are finite."""
    if values is None:
        return {}
    values = values[values.isfinite()].double().sort().values
    if values.numel() == 0:
        return {}
    numbers = {f"{name}/mean": float(values.mean()), f"{name}/max": float(values[-1])}
    for share in _QUANTILES:
        numbers[f"{name}/q{round(100 * share):02}"] = float(
            values[round(share * (len(values) - 1))]
        )
    return numbers


def _classes(y: Tensor | None) -> dict[str, float]:
    """The shares of the classes among targets, and how many equal shares would be as uneven."""
    if y is None or (y.is_floating_point() and y.dim() != 2):
        return {}
    if y.is_floating_point():
        counts = y.double().sum(0)
    elif y.dim() == 1:
        y = y[y >= 0].to(torch.int64)
        if (y > _MOST_CLASSES).any():
            return {}
        counts = torch.bincount(y).double()
    else:
        return {}
    shares = counts / counts.sum()
    if not shares.isfinite().all() or shares.numel() == 0:
        return {}
    numbers = {"classes": float(torch.special.entr(shares).sum().exp())}
    if shares.numel() <= _MANY_CLASSES:
        numbers |= {f"class/{c}": share for c, share in enumerate(shares.tolist())}
    return numbers


def seconds_of(time: StepTime) -> dict[str, float]:
    """What the parts of a step have taken."""
    return {f"seconds/{part}": float(getattr(time, part)) for part in _PARTS}
