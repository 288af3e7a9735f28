"""RAIS: draws by what a sample's gradient norm may be by now, for all that is known of it."""

from itertools import product
from typing import ClassVar, final

import torch
from torch import Tensor

from impsamp_fast._checks import check_number
from impsamp_fast._faults import OnFault
from impsamp_fast.dataset._feedback import Feedback
from impsamp_fast.dataset._projection import projected
from impsamp_fast.dataset._recording import RecordingSampler

# By default an epoch is drawn in that many blocks, each from a fit over all samples.
_BLOCKS_PER_EPOCH = 16

# Before so many samples have been seen twice, nothing is fitted: c is of the last norm alone, d of
# the mean.
_FEWEST = 32


@final
class RobustImportance(RecordingSampler):
    r"""Draws samples by the largest gradient norm that they may have by now.

    RAIS of Johnson and Guestrin (2018): a sample's squared gradient norm v is known only from its
    last step, and is taken to lie within :math:`\langle c, s \rangle \pm k \langle d, s \rangle`,
    for features s of the sample and coefficients c and d that are learned online to make these
    intervals narrow. The distribution that is best for the worst such v is

    .. math:: p_i \propto \sqrt{\langle c, s_i \rangle + k \langle d, s_i \rangle}

    The losses are weighted by 1 / (N p), so that ``mean`` estimates the mean loss of the data set
    without bias, and ``gain`` says for how many steps of a schedule a step counts.

    From memory of the paper. Ours are: the norm, that of the gradient with respect to the logits,
    see :func:`~impsamp_fast.row_stats`; the features, which are v when the sample was last trained
    on, the mean of all v, and that mean times the age of v in epochs; c and d, which are fitted by
    least squares without negative coefficients, over the samples that were seen twice, c to v and d
    to what c leaves of it; k; the floor, which bounds the weights by its inverse; and a uniform
    first epoch. A sample that was never seen counts as the mean.

    ``update`` needs ``logits`` and ``target``. 24 bytes per sample, and 4 for the epoch's order.

    Args:
        size: N, the number of samples in the data set.
        warm_up: the number of uniform epochs before.
        k: how far v may be from what is expected of it, in units of its mean deviation, at least 0.
        floor: N p is at least this, in (0, 1).
        block: how many indices are drawn by the same p; None is a sixteenth of an epoch.
        on_fault: what to do with a faulty row, see :class:`~impsamp_fast.SampleMemory`.
        seed: of the draws, see :class:`DatasetSampler`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    tables: ClassVar = RecordingSampler.tables | {
        "last": (torch.float32, torch.nan),  # v
        "before": (torch.float32, torch.nan),  # the v before that
        "drawn": (torch.int32, 0.0),  # the epoch of the last draw
        "learned": (torch.int32, 0.0),  # the epoch of the draw that `last` is of
        "gap": (torch.int32, 0.0),  # the age of `before` then
    }

    memory: Feedback

    def __init__(
        self,
        size: int,
        *,
        warm_up: int = 1,
        k: float = 1.0,
        floor: float = 0.2,
        block: int | None = None,
        on_fault: OnFault = "raise",
        seed: int | None = None,
    ) -> None:
        k = check_number("k", k, 0)
        floor = check_number("floor", floor, 0, 1, open_low=True)
        memory = Feedback(size, "grad_norm", self._learn, on_fault)
        super().__init__(size, warm_up=warm_up, block=block, seed=seed, memory=memory)
        self.k = k
        self.floor = floor

    def sample_weights(self, epoch: int) -> Tensor:
        """N p, [N] float32."""
        self.memory.fetch()
        last, learned = self._tables["last"], self._tables["learned"]
        mean = last.nanmean(dtype=torch.float64).item()
        if not mean > 0:
            return torch.ones_like(last)
        c, d = self._coefficients(mean)
        features = _features((last / mean).nan_to_num_(nan=1.0), _age(epoch - learned))
        worst = (c + self.k * d).to(features.dtype) @ features
        return projected(worst.sqrt_(), self.floor) if worst.any() else torch.ones_like(last)

    def draw_block(self, epoch: int, wanted: int, seed: int) -> Tensor:
        """As in a :class:`~impsamp_fast.dataset.WeightedSampler`."""
        index = super().draw_block(epoch, wanted, seed)
        self._tables["drawn"][index] = epoch
        return index

    def gain(self) -> float:
        """For how many steps of the learning rate's schedule a step counts by now, at least 1.

        With uniform sampling the mean squared gradient norm of a row would be as many times as
        large; estimated from the samples as they were last drawn. That of a mini-batch's gradient
        has a smaller ratio where the gradients agree.
        """
        self.memory.fetch()
        last = self._tables["last"].to(torch.float64)
        weighted = (last / self._tables["relative"]).nansum()
        return max(1.0, (last.nansum() / weighted).item()) if weighted > 0 else 1.0

    def _block_size(self) -> int:
        return -(-self.size // _BLOCKS_PER_EPOCH) if self.block is None else self.block

    def _learn(self, index: Tensor, grad_norm: Tensor) -> None:
        last, learned = self._tables["last"], self._tables["learned"]
        drawn = self._tables["drawn"][index]
        self._tables["gap"][index] = _age(drawn - learned[index])
        learned[index] = drawn
        self._tables["before"][index] = last[index]
        last[index] = grad_norm.to(torch.float32).square()

    def _coefficients(self, mean: float) -> tuple[Tensor, Tensor]:
        """c and d, of v in units of its mean."""
        last, before = self._tables["last"], self._tables["before"]
        twice = (~before.isnan()).nonzero().squeeze(1)
        if len(twice) < _FEWEST:
            unit = torch.eye(3, dtype=torch.float64, device="cpu")
            return unit[0], unit[1]
        features = _features(before[twice] / mean, self._tables["gap"][twice])
        value = last[twice] / mean
        c = nonnegative_fit(features, value)
        expected = c.to(features.dtype) @ features
        return c, nonnegative_fit(features, (value - expected).abs())


def _age(epochs: Tensor) -> Tensor:
    return epochs.clamp_(min=0)  # epochs may be given in any order


def _features(known: Tensor, age: Tensor) -> Tensor:
    """[3, m]."""
    return torch.stack([known, torch.ones_like(known), age.to(known.dtype)])


def nonnegative_fit(features: Tensor, value: Tensor) -> Tensor:
    """The coefficients that are not negative of the least squares, [f] float64.

    They are the least squares of those features alone whose coefficients are positive: of few
    features all sets are tried.

    Args:
        features: [f, m], few.
        value: [m], what their combination is to be.
    """
    features = features.to(torch.float64)
    every = list(product((0.0, 1.0), repeat=len(features)))
    chosen = torch.tensor(every, dtype=torch.float64, device="cpu")
    gram = (features @ features.T) * chosen.unsqueeze(1) * chosen.unsqueeze(2)
    target = (features @ value.to(torch.float64)) * chosen
    found = (torch.linalg.pinv(gram, hermitian=True) @ target.unsqueeze(2)).squeeze(2)
    gain = (found * target).sum(1)  # what the sum of the squared values is less by
    possible = ((found > 0) | (chosen == 0)).all(1)
    best: Tensor = found[gain.masked_fill(~possible, -1).argmax()]
    return best
