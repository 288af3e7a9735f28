"""SeTa: a window over the samples, sorted into groups by their losses, slides from easy to hard."""

from typing import final

import torch
from torch import Tensor

from impsamp_fast._checks import check_integer, check_number
from impsamp_fast._faults import OnFault
from impsamp_fast._seeds import second_seed
from impsamp_fast._uniform import uniform_rows
from impsamp_fast.dataset._pruning import share_of
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled

# Lloyd's rounds; sorted losses of any size need far fewer.
_MOST_ROUNDS = 100


@final
class SlidingWindow(DatasetSampler):
    r"""Trains on neither the easiest nor the hardest: a window of groups by loss, easy to hard.

    SeTa of Zhou, Gao and Wang (2025): the last losses are put into ``groups`` clusters (k-means),
    ordered from the smallest to the largest; epoch e trains on the ``window`` groups from number
    :math:`e \bmod (\mathrm{groups} - \mathrm{window} + 1)` on, less a random share r of their
    samples; the last epochs are of all groups, less that share. Nothing is weighted: an epoch's
    mean loss is biased, except in the last ones.

    Where it is ours: the first epoch, which knows no losses, is of all samples, and so is one whose
    window is empty, as where all losses are equal; a sample without a loss is kept whatever the
    window; and all samples are clustered, where the authors' code leaves out the random share
    first. ``update`` needs ``losses``, or ``logits`` and ``target``.

    8 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        epochs: how many epochs the training has, at least 1.
        ratio: r, in [0, 1); 0.1 in the authors' script for CIFAR.
        groups: how many, at least 1; 10 by default in the authors' code, 5 in that script.
        window: the groups that an epoch is of, as a share of all, in (0, 1], rounded to at least
            one; 0.5 by default in the authors' code, 0.9 in that script.
        full_after: from which share of the epochs on all groups are trained on, at least 0; the
            paper's is 0.875.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    memory: SampleMemory

    def __init__(
        self,
        size: int,
        epochs: int,
        *,
        ratio: float = 0.1,
        groups: int = 10,
        window: float = 0.5,
        full_after: float = 0.875,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        epochs = check_integer("epochs", epochs, 1)
        memory = SampleMemory(size, track=("loss",), on_fault=on_fault)
        super().__init__(size, seed=seed, memory=memory)
        self.epochs = epochs
        self.ratio = check_number("ratio", ratio, 0, 1)
        self.groups = check_integer("groups", groups, 1)
        self.window = check_number("window", window, 0, 1, open_low=True, open_high=False)
        self.full_after = check_number("full_after", full_after, 0)

    def length(self, epoch: int) -> int:
        """The number of samples in the window, less the random share; all in the first epoch."""
        if epoch == 0:
            return self.size
        chosen = int(self._chosen(epoch).count_nonzero())
        return chosen - share_of(chosen, self.ratio)

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """The whole epoch, in random order."""
        if epoch == 0:
            return shuffled(self.size, seed)
        rows = self._chosen(epoch).nonzero().squeeze(1)
        return rows[uniform_rows(len(rows), wanted, second_seed(seed), rows.device)]

    def _chosen(self, epoch: int) -> Tensor:
        """The samples of the groups of an epoch, [N] bool; all if there are none."""
        loss = self.memory.loss
        unknown = loss.isnan()
        if epoch >= self.full_after * self.epochs or unknown.all():
            return torch.ones_like(unknown)
        width = max(1, round(self.groups * self.window))
        first = epoch % (self.groups - width + 1)
        group = torch.bucketize(loss, group_bounds(loss[~unknown], self.groups))
        chosen = unknown | ((group >= first) & (group < first + width))
        return chosen if chosen.any() else ~chosen


def group_bounds(values: Tensor, groups: int) -> Tensor:
    """The bounds between groups of values by k-means, [groups - 1], ascending.

    Lloyd's algorithm from quantiles, on sorted values: a group is what lies between two bounds, and
    its mean a difference of two cumulative sums.

    Args:
        values: [m], at least one, finite.
        groups: how many.
    """
    ascending = values.to(torch.float64).sort().values
    sums = torch.cat([ascending.new_zeros(1), ascending.cumsum(0)])
    places = (torch.arange(groups, dtype=torch.float64, device=ascending.device) + 0.5) / groups
    means = ascending[(places * len(ascending)).long()]
    bounds = means[:-1]
    for _ in range(_MOST_ROUNDS):
        before, bounds = bounds, (means[1:] + means[:-1]) / 2
        if torch.equal(before, bounds):
            break
        ends = torch.searchsorted(ascending, bounds, right=True)
        ends = torch.cat([ends.new_zeros(1), ends, ends.new_full((1,), len(ascending))])
        count = ends.diff()
        # A group that has lost its last value stays where it was.
        means = torch.where(count > 0, sums[ends].diff() / count.clamp(min=1), means)
    return bounds.to(values.dtype)
