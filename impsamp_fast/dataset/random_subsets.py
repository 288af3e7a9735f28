"""Repeated random subsets: a fresh share of the samples in each epoch, and nothing learned."""

from typing import Any, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_index_form, check_number
from impsamp_fast._uniform import uniform_rows
from impsamp_fast.dataset._pruning import share_of
from impsamp_fast.dataset.sampler import DatasetSampler, shuffled


@final
class RandomSubsets(DatasetSampler):
    r"""Trains each epoch on another random share of the samples: what pruning has to beat.

    RS2 of Okanovic et al. (2024): an epoch is of :math:`\lfloor rN \rfloor` different samples,
    which were drawn uniformly, and the schedule of the learning rate is shortened to as many steps
    as there are then. All weights are 1, and the mean loss of an epoch is unbiased. The epochs go
    through a shuffle of the data set part by part, so that no sample comes again before that
    shuffle is used up, and then through the next; or they are drawn independently of each other,
    which the authors call with replacement.

    Where rN does not divide N, the rest of a shuffle is left out, another one each time: ours.
    ``update`` learns nothing.

    No bytes per sample, and 4 r for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        share: r, in (0, 1]; the paper's are 0.05 to 0.3, and 0.1 is what its code shows.
        independent: whether the epochs are drawn independently of each other.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self, size: int, *, share: float = 0.1, independent: bool = False, seed: int | None = None
    ) -> None:
        super().__init__(size, seed=seed)
        self.share = check_number("share", share, 0, 1, open_low=True, open_high=False)
        self.independent = independent

    def update(
        self,
        index: Tensor,
        logits: Tensor | None = None,
        target: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Notes that the epoch is trained on; looks at nothing but the kind of ``index``."""
        check_index_form(index)
        self.note_training(len(index))

    def sync(self, group: Any = None) -> None:
        """Does nothing: there is nothing to share among ranks."""

    def length(self, epoch: int) -> int:
        """The share of N, rounded down, and at least 1."""
        return max(1, share_of(self.size, self.share))

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """The whole epoch."""
        if self.independent:
            return uniform_rows(self.size, wanted, seed, torch.device("cpu"))
        part = epoch % (self.size // wanted)
        order = shuffled(self.size, self._seed_of_block(epoch - part))
        return order[part * wanted : (part + 1) * wanted]
