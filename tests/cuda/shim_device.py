"""A CUDA device for tests on machines that have none: the kernels of csrc/cuda, run on the host.

Tensors are CPU tensors; their strides are kept, and every buffer ends where its last element does.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from impsamp_fast import Selection
from tests.cuda.shim_server import ShimServer
from tests.dtypes import DTYPES
from tests.methods import METHODS
from tests.shim.device import (
    CORRECTIONS,
    KINDS,
    SCORES,
    STATISTICS,
    DeviceDraw,
    Seed,
    result_type,
)
from tests.shim.process import Message, poisoned

SUM_TOLERANCE = 2.0**-12  # of float32 class probabilities


class ShimDevice(ShimServer):
    """What the operators ask of CUDA's launchers.

    Args:
        order: see :class:`ShimServer`.
        multiprocessors: of the device that the launchers believe to run on.
        shift: see :class:`Message`.
        shared_memory: see :class:`ShimServer`.
    """

    reals = (torch.float32, torch.float64)  # of weights, scores and results

    def __init__(
        self,
        order: int = 0,
        multiprocessors: int = 8,
        shift: int = 0,
        shared_memory: int = 227 * 1024,
    ) -> None:
        super().__init__(order, shared_memory)
        self.multiprocessors = multiprocessors
        self.shift = shift

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

    def draw_certain(
        self, weights: Tensor, largest: Tensor, rows: Tensor, found: Tensor, n: int
    ) -> Tensor:
        """What a round of "pps" counts in a part, [3]."""
        message = Message("draw_certain", self.shift)
        self._add_part(message, weights, largest, rows)
        message.integers(n)
        message.input(found)
        message.output(poisoned((3,), torch.int64))
        message.integers(self.multiprocessors)
        return self.send(message)[0]

    def draw_by_size(
        self,
        weights: Tensor,
        largest: Tensor,
        rows: Tensor,
        found: Tensor,
        before: Tensor,
        n: int,
        seed: Tensor,
    ) -> list[Tensor]:
        """The index [n] and prob [n] of a part by "pps"."""
        message = Message("draw_by_size", self.shift)
        self._add_part(message, weights, largest, rows)
        message.integers(n)
        for given in (found, before, seed):
            message.input(given)
        message.output(poisoned((n,), torch.int64))
        message.output(poisoned((n,), weights.dtype))
        message.integers(self.multiprocessors)
        return self.send(message)

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
