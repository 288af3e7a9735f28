"""Samplers that draw with replacement, by a weight for each sample of the data set."""

from abc import abstractmethod

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer
from impsamp_fast.dataset._feedback import Memory
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled
from impsamp_fast.ops import draw


class WeightedSampler(DatasetSampler):
    """Draws N indices per epoch with replacement, with probabilities proportional to weights.

    The first ``warm_up`` epochs are shuffles of all samples, as without importance sampling. A
    sampler of your own says what the weights are; that is all::

        class ByLoss(WeightedSampler):
            def __init__(self, size, *, seed=None):
                memory = SampleMemory(size, track=("loss",))
                super().__init__(size, warm_up=1, block=None, seed=seed, memory=memory)

            def sample_weights(self, epoch):
                return self.memory.loss.nan_to_num(nan=1.0)

    Drawing 10^7 indices takes about a second, and each further block about 0.1 s at N = 10^7,
    besides what ``sample_weights`` takes.

    Args:
        size: N, at least 1.
        warm_up: the number of uniform epochs, at least 0.
        block: how many indices are drawn at once, by what is known then; None is the whole epoch.
        seed: see :class:`DatasetSampler`.
        memory: likewise.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        size: int,
        *,
        warm_up: int,
        block: int | None,
        seed: int | None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(size, seed=seed, memory=memory)
        warm_up = check_integer("warm_up", warm_up, 0)
        if block is not None:
            block = check_integer("block", block, 1)
        self.warm_up = warm_up
        self.block = block

    @abstractmethod
    def sample_weights(self, epoch: int) -> Tensor:
        """What samples are drawn by in that epoch, by what is known now.

        Returns:
            [N], floating point, finite and not negative; all zero means uniform.
        """

    def length(self, epoch: int) -> int:
        """N."""
        return self.size

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """A shuffle in the warm-up, else draws with replacement by ``sample_weights``."""
        if epoch < self.warm_up:
            index = shuffled(self.size, seed)
            self._record(index, torch.ones(self.size, dtype=torch.float32, device="cpu"))
            return index
        return self._draw_by(self.sample_weights(epoch), wanted, seed)

    def _draw_by(self, weight: Tensor, wanted: int, seed: int) -> Tensor:
        n = min(wanted, self._block_size())
        index, prob = draw(weight, n, method="multinomial", seed=seed)
        self._record(index, prob.mul_(self.size))
        return index

    def _block_size(self) -> int:
        return self.size if self.block is None else self.block

    def _record(self, index: Tensor, relative: Tensor) -> None:
        """Is told of each block: its indices, and N times the probabilities of their draws."""
