"""Early importance: what was hard in the first epochs is drawn more often from then on."""

import math
from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor

from impsamp_fast._faults import OnFault
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.dataset.weighted import WeightedSampler


@final
class EarlyImportance(WeightedSampler):
    r"""Draws samples by how hard they were in the first epochs.

    Quercia et al. (2023): after ``warm_up`` uniform epochs the weights
    :math:`w = \mathrm{map}(1 - \bar{p})` are fixed, with :math:`\bar{p}` the mean probability of a
    sample's true class in those epochs, and the rest of the training draws N samples per epoch by
    them, with replacement. The losses are not re-weighted: the bias towards hard samples is what
    the method is about.

    Where the published material leaves it open: the statistic, and the map, which is the identity
    by default; "a few" epochs are 5. A sample that was not seen in those epochs (``drop_last``) has
    the mean statistic of the others. ``update`` needs ``logits`` and ``target``; after those epochs
    it does nothing.

    16 bytes per sample, and 4 for the epoch's order.

    The authors report that classes balance by themselves. They come nearer to balance, but not all
    the way: with five digits of MNIST ten times as frequent as the other five, a small network and
    3 uniform epochs, the total variation distance of the picks' class shares from equal ones falls
    from 0.41 to 0.21, and to 0.16 with ``map=torch.square``; the most frequent class is then drawn
    4.4 and 3.6 times as often as the rarest instead of 10 times
    (``tests/dataset/test_class_balance.py``).

    Args:
        size: N, the number of samples in the data set.
        warm_up: the number of uniform epochs, at least 1.
        map: from the statistics [N] float32 in [0, 1] to weights [N], finite and not negative, such
            as ``torch.square`` for a stronger preference; None is the identity.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described; where the weights are
            fixed, ValueError if ``map`` does not return such weights, or no sample was seen.
    """

    tables: ClassVar = {"weight": (torch.float32, math.nan)}  # NaN until they are fixed

    memory: SampleMemory

    def __init__(
        self,
        size: int,
        *,
        warm_up: int = 5,
        map: Callable[[Tensor], Tensor] | None = None,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        if map is not None and not callable(map):
            raise TypeError(f"map is {map!r}, expected a function from statistics to weights")
        memory = SampleMemory(size, track=("p_true",), on_fault=on_fault)
        super().__init__(size, warm_up=warm_up, block=None, seed=seed, memory=memory)
        if warm_up < 1:
            raise ValueError(f"warm_up is {warm_up}, expected at least 1, to learn the weights in")
        self.map = map

    def update(
        self,
        index: Tensor,
        logits: Tensor | None = None,
        target: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Learns from a step of the first epochs; see :meth:`DatasetSampler.update`."""
        if self._tables["weight"][0].isnan():
            super().update(index, logits, target, losses=losses)
        else:
            self.note_training(len(index))

    def sample_weights(self, epoch: int) -> Tensor:
        """The weights, [N] float32: fixed when they are first asked for after the warm-up."""
        if self._tables["weight"][0].isnan():
            self._tables["weight"] = self._fixed_weights()
        return self._tables["weight"]

    def _fixed_weights(self) -> Tensor:
        hardness = 1 - self.memory.p_true_mean
        mean = hardness.nanmean(dtype=torch.float64).item()
        if math.isnan(mean):
            raise ValueError(
                "no sample was seen in the first epochs: call update(index, logits, target) in "
                "each training step"
            )
        hardness.nan_to_num_(nan=mean)
        if self.map is None:
            return hardness
        weight = self.map(hardness)
        if not isinstance(weight, Tensor) or weight.shape != (self.size,):
            found = list(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
            raise ValueError(f"map returned {found}, expected weights [{self.size}]")
        if not (weight.isfinite() & (weight >= 0)).all():
            raise ValueError("map returned a weight that is negative or not finite")
        return weight.detach().to("cpu", torch.float32, copy=True)
