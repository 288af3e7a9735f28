"""The Metal kernels behind the methods of tests.cuda.shim_device.ShimDevice: one set of tests."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from impsamp_fast import Selection
from impsamp_fast.ops import _metal_draw, _metal_rows
from tests.metal.fake_mps import FakeMPS, on_mps
from tests.shim.device import STATISTICS, DeviceDraw, Seed
from tests.shim.process import POISON, poisoned


class MetalDevice:
    """What the operators ask of Metal's launchers."""

    reals = (torch.float32,)  # of weights, scores and results

    def __init__(self, mps: FakeMPS) -> None:
        self.mps = mps
        self.multiprocessors = 8

    @property
    def shift(self) -> int:
        return self.mps.shift

    @shift.setter
    def shift(self, elements: int) -> None:
        self.mps.shift = elements

    @contextmanager
    def _running(self) -> Iterator[None]:
        """The launchers believe in a device that so many multiprocessors would fill."""
        with self.mps.active(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(_metal_rows, "FILLED", self.multiprocessors * 512)
            yield

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
        given = SimpleNamespace(
            logits=logits,
            target=target,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            ignore_index=ignore_index,
        )
        rows = _metal_rows.rows_of(given)
        names = list(wanted)
        results = {name: poisoned(logits.shape[:1], torch.float32) for name in names}
        for first in range(0, len(names), _metal_rows.OUTPUTS):
            some = names[first : first + _metal_rows.OUTPUTS]
            numbers = [STATISTICS.index(name) for name in some]
            with self._running():
                _metal_rows.run_rows(rows, numbers, [results[name] for name in some])
        for value in results.values():
            _check_written(value)
        return results

    def last_layer(self, features: Tensor, score: Tensor) -> Tensor:
        """score [K] * sqrt(1 + |features|^2), features [K, D]."""
        product = score.clone()
        with self._running():
            _metal_rows.multiply_by_features(features, product)
        return product

    def draw(
        self, weights: Tensor, n: int, method: str = "multinomial", seed: int | Seed = 0
    ) -> DeviceDraw:
        """n rows by contiguous weights [K] float32."""
        number = _metal_draw.method_of(method)
        index, prob = poisoned((n,), torch.int64), poisoned((n,), torch.float32)
        status = poisoned((1,), torch.int64)
        outcome = _metal_draw.Outcome(_metal_draw.kind_of(number))
        with self._running():
            results = (index, prob, None, status)
            _metal_draw.draw_by(weights, n, number, outcome, _seed(seed), results)
        for value in (index, prob, status):
            _check_written(value)
        return DeviceDraw(index, prob, int(status))

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
        power = not isinstance(correction, str)
        given = _seed(seed)
        arguments = (
            *(logits, target, n, score, method),
            *("unbiased" if power else correction, float(correction) if power else None),
            *(features, smoothing, given.number if given.words is None else None, None),
            *(None if given.words is None else given.words.reshape(()), label_smoothing),
            *(class_weight, ignore_index),
        )
        with self._running():
            select = torch.ops.impsamp_fast.select.default
            return Selection(*on_mps(select, arguments, {}))

    def smoothed(
        self, score: Tensor, smoothing: float = 0.0, ignored: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What rows are drawn by [K], and its tau, for contiguous scores [K]."""
        with self._running():
            smoothed = torch.ops.impsamp_fast.smoothed.default
            return on_mps(smoothed, (score, smoothing, ignored), {})

    def corrected(
        self, prob: Tensor, drawn_by: Tensor, rows: int, kind: str, correction: str | float
    ) -> Tensor:
        """The weights of n drawn rows [n]."""
        rule, exponent = ("", correction) if not isinstance(correction, str) else (correction, None)
        with self._running():
            corrected = torch.ops.impsamp_fast.corrected.default
            return on_mps(corrected, (prob, drawn_by, rows, kind, rule, exponent), {})

    def draw_scan(self, weights: Tensor) -> list[Tensor]:
        """The largest of contiguous weights [k], how many are positive, and a status; [1] each."""
        return self._stage("_draw_scan", weights)

    def draw_total(self, *part: Tensor) -> Tensor:
        return self._stage("_draw_total", *part)[0]

    def draw_part(self, *arguments: Any) -> list[Tensor]:
        return self._stage("_draw_part", *arguments)

    def draw_first(self, *arguments: Any) -> list[Tensor]:
        return self._stage("_draw_first", *arguments)

    def draw_arrival_prob(self, *arguments: Any) -> Tensor:
        return self._stage("_draw_arrival_prob", *arguments)[0]

    def draw_certain(self, *arguments: Any) -> Tensor:
        return self._stage("_draw_certain", *arguments)[0]

    def draw_by_size(self, *arguments: Any) -> list[Tensor]:
        return self._stage("_draw_by_size", *arguments)

    def _stage(self, name: str, *arguments: Any) -> list[Tensor]:
        """A stage's results; scalars are [1] outside and [] for the operator."""
        operator = getattr(torch.ops.impsamp_fast, name).default
        scalar = [
            value.reshape(()) if isinstance(value, Tensor) and i and value.numel() == 1 else value
            for i, value in enumerate(arguments)
        ]
        with self._running():
            found = on_mps(operator, tuple(scalar), {})
        results = [found] if isinstance(found, Tensor) else list(found)
        return [value.reshape(-1) for value in results]


def _seed(seed: int | Seed) -> _metal_draw.Seed:
    if isinstance(seed, int):
        return _metal_draw.Seed((seed + 2**63) % 2**64 - 2**63)
    return _metal_draw.Seed(seed.value, seed.at)


def _check_written(output: Tensor) -> None:
    unwritten = output.view(torch.uint8).view(-1, output.element_size()).eq(POISON).all(1)
    assert not unwritten.any()
