"""Bandit sampling: a distribution that learns from the gradients of the samples it draws."""

import math
from typing import ClassVar, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_number
from impsamp_fast._faults import OnFault
from impsamp_fast.dataset._feedback import Feedback
from impsamp_fast.dataset._projection import projected
from impsamp_fast.dataset._recording import RecordingSampler

# By default an epoch is drawn in that many blocks. The authors learn after each mini-batch, with a
# tree of sums; here a block costs a pass over the N samples, and 16 of them cost little.
_BLOCKS_PER_EPOCH = 16

# Beyond it an update's logarithm may be infinite in float32.
_LARGEST_RATE = 1e30


@final
class Bandit(RecordingSampler):
    r"""Draws samples by a distribution that bandit feedback keeps up to date.

    Liu et al. (2020): the distribution p is to minimise :math:`\sum_j a_j / p_j` with
    :math:`a_j = |g_j|^2` (the variance of the weighted gradient), here with the norm of the
    gradient with respect to the logits, see :func:`~impsamp_fast.row_stats`. The reward of sample j
    is the slope :math:`a_j / p_j^2`, known only where j was drawn, so that its estimate is divided
    by the probability of the draw; the update is exponential; and the result is projected (in
    Kullback-Leibler divergence) onto :math:`p \ge p_{min}`. In units of the uniform distribution,
    :math:`\pi = N p`, each time that sample j was drawn and trained on

    .. math:: \ln w_j \leftarrow \ln w_j + \mathrm{rate}\; a_j / \pi_j^3

    from :math:`w = \pi`, and then :math:`\pi = \max(\mathrm{floor}, c\,w)` with c such that the
    mean is 1. It rests where :math:`\pi \propto |g|`. The losses are weighted by
    :math:`1 / \pi = 1 / (N p)`, so that ``mean`` estimates the mean loss of the data set without
    bias.

    Where it differs from the paper: the constant that is added there to each loss of the bandit, to
    make it positive for the proof, is left out: it moves all logarithms alike in expectation, and
    its estimate only adds noise. N^3 / K and the step size are one parameter, ``rate``, so that it
    need not change with the data set. And p is brought up to date once per block, not per
    mini-batch; the draws of a block stay unbiased, for they are weighted by what they were drawn
    by. A sample's weight is that of the block in which it was drawn last.

    ``update`` needs ``logits`` and ``target``. 8 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        rate: the step size, positive, at most 1e30. No update multiplies w by more than
            exp(2 rate / floor^3), about 5 with the defaults.
        floor: N p_min, in (0, 1): a sample's chance is never less than this share of uniform.
        block: how many indices are drawn by the same p; None is a sixteenth of an epoch.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    tables: ClassVar = RecordingSampler.tables | {
        "log_weight": (torch.float32, 0.0),  # ln w, and ln pi where a block has just been drawn
    }

    memory: Feedback

    def __init__(
        self,
        size: int,
        *,
        rate: float = 0.1,
        floor: float = 0.5,
        block: int | None = None,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        rate = check_number("rate", rate, 0, _LARGEST_RATE, open_low=True, open_high=False)
        floor = check_number("floor", floor, 0, 1, open_low=True)
        memory = Feedback(size, "grad_norm", self._learn, on_fault)
        super().__init__(size, warm_up=0, block=block, seed=seed, memory=memory)
        self.rate = rate
        self.floor = floor

    def sample_weights(self, epoch: int) -> Tensor:
        """pi, [N] float32 with mean 1."""
        self.memory.fetch()
        log_weight = self._tables["log_weight"]
        largest = log_weight.max().item()
        # They were projected when the last block was drawn, so that c is not far from 1.
        return projected((log_weight - largest).exp_(), self.floor, math.exp(min(largest, 80)))

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """Draws with replacement by pi, from which the next updates go on."""
        weight = self.sample_weights(epoch)
        index = self._draw_by(weight, wanted, seed)
        self._tables["log_weight"].copy_(weight.log_())
        return index

    def _block_size(self) -> int:
        return -(-self.size // _BLOCKS_PER_EPOCH) if self.block is None else self.block

    def _learn(self, index: Tensor, grad_norm: Tensor) -> None:
        reward = grad_norm.to(torch.float32).square() / self._tables["relative"][index].pow_(3)
        self._tables["log_weight"].index_add_(0, index, reward, alpha=self.rate)
