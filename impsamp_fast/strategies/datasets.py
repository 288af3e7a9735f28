"""The strategies that choose the samples of each epoch.

All are called alike, with the size of the data set, how many epochs the training has and how many
classes there are, so that one loop can compare them; a method takes what it needs of that.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from impsamp_fast.dataset import (
    ActiveBias,
    Bandit,
    EarlyImportance,
    EpochAccuracyFilter,
    InfoBatch,
    OnlineBatchSelection,
    RandomPruning,
    RecencyBias,
)
from impsamp_fast.strategies.assist import BIBTEX as SMEDAS
from impsamp_fast.strategies.registry import register

QUERCIA = """
@inproceedings{quercia2023sgd,
  author    = {Quercia, Alessio and Morrison, Abigail and Scharr, Hanno and Assent, Ira},
  title     = {{SGD} Biased towards Early Important Samples for Efficient Training},
  booktitle = {IEEE International Conference on Data Mining},
  pages     = {1289--1294},
  year      = {2023}
}
"""

LOSHCHILOV = """
@article{loshchilov2015online,
  author  = {Loshchilov, Ilya and Hutter, Frank},
  title   = {Online Batch Selection for Faster Training of Neural Networks},
  journal = {arXiv preprint arXiv:1511.06343},
  year    = {2015}
}
"""

SONG = """
@inproceedings{song2020carpe,
  author    = {Song, Hwanjun and Kim, Minseok and Kim, Sundong and Lee, Jae-Gil},
  title     = {Carpe Diem, Seize the Samples Uncertain ``at the Moment'' for Adaptive Batch
               Selection},
  booktitle = {Proceedings of the 29th ACM International Conference on Information and Knowledge
               Management},
  year      = {2020}
}
"""

CHANG = """
@inproceedings{chang2017active,
  author    = {Chang, Haw-Shiuan and Learned-Miller, Erik and McCallum, Andrew},
  title     = {Active Bias: Training More Accurate Neural Networks by Emphasizing High Variance
               Samples},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {30},
  pages     = {1002--1012},
  year      = {2017}
}
"""

LIU = """
@inproceedings{liu2020adam,
  author    = {Liu, Rui and Wu, Tianyi and Mozafari, Barzan},
  title     = {Adam with Bandit Sampling for Deep Learning},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {33},
  year      = {2020}
}
"""

QIN = """
@inproceedings{qin2024infobatch,
  author    = {Qin, Ziheng and Wang, Kai and Zheng, Zangwei and Gu, Jianyang and Peng, Xiangyu and
               Xu, Zhaopan and Zhou, Daquan and Shang, Lei and Sun, Baigui and Xie, Xuansong and
               You, Yang},
  title     = {{InfoBatch}: Lossless Training Speed Up by Unbiased Dynamic Data Pruning},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}
"""


@register("early-importance", level="dataset", bibtex=QUERCIA)
def early_importance(
    size: int,
    *,
    epochs: int,
    classes: int,
    warm_up: int = 5,
    map: Callable[[Tensor], Tensor] | None = None,
    seed: int | None = None,
) -> EarlyImportance:
    r"""Samples drawn by the fixed weights :math:`\mathrm{map}(1 - \bar{p})` of the first epochs.

    :math:`\bar{p}` is the mean probability of a sample's true class in the warm-up.

    Args:
        size: N, the number of samples.
        epochs: of the training; not needed here.
        classes: how many; not needed here.
        warm_up: the number of uniform epochs before.
        map: from the statistics [N] to the weights [N]; None is the identity.
        seed: of the draws.
    """
    return EarlyImportance(size, warm_up=warm_up, map=map, seed=seed)


@register("online-batch", level="dataset", bibtex=LOSHCHILOV)
def online_batch(
    size: int,
    *,
    epochs: int,
    classes: int,
    pressure: float = 100.0,
    warm_up: int = 1,
    block: int | None = None,
    seed: int | None = None,
) -> OnlineBatchSelection:
    r"""Samples drawn by the rank r of their last loss, :math:`P \propto \exp(-r \ln(s_e) / N)`.

    Rank 1 is the largest loss; :math:`s_e` falls exponentially from ``pressure`` to 1.

    Args:
        size: N, the number of samples.
        epochs: of the training.
        classes: how many; not needed here.
        pressure: :math:`s_e` at first.
        warm_up: the number of uniform epochs before.
        block: how many samples are drawn from one ranking; None is the whole epoch.
        seed: of the draws.
    """
    return OnlineBatchSelection(
        size, epochs, pressure=pressure, warm_up=warm_up, block=block, seed=seed
    )


@register("recency-bias", level="dataset", bibtex=SONG)
def recency_bias(
    size: int,
    *,
    epochs: int,
    classes: int,
    history: int = 10,
    pressure: float = 100.0,
    warm_up: int = 15,
    seed: int | None = None,
) -> RecencyBias:
    r"""Samples drawn by the entropy of their last predicted labels.

    With that entropy F divided by ln C, :math:`Q = \lceil (1 - F) N \rceil` and
    :math:`P \propto \exp(-Q \ln(s_e) / N)`, where :math:`s_e` falls exponentially from
    ``pressure`` to 1.

    Args:
        size: N, the number of samples.
        epochs: of the training; nothing is left of them by a longer warm-up.
        classes: C, how many.
        history: how many predicted labels are kept.
        pressure: :math:`s_e` at first.
        warm_up: the number of uniform epochs before.
        seed: of the draws.
    """
    return RecencyBias(
        size, epochs, classes, history=history, pressure=pressure, warm_up=warm_up, seed=seed
    )


@register("active-bias", level="dataset", bibtex=CHANG)
def active_bias(
    size: int,
    *,
    epochs: int,
    classes: int,
    warm_up: int = 15,
    epsilon: float | None = None,
    correction: Literal["normalized", "none"] = "normalized",
    block: int | None = None,
    seed: int | None = None,
) -> ActiveBias:
    r"""Samples drawn by the deviation of their probability of the true class.

    :math:`P \propto \sqrt{var + var^2 / (n - 1)} + \epsilon` over the n probabilities seen so far,
    and weights 1 / P with mean 1 in each mini-batch.

    Args:
        size: N, the number of samples.
        epochs: of the training; not needed here, but nothing is left of them by a longer warm-up.
        classes: how many; not needed here.
        warm_up: the number of uniform epochs before.
        epsilon: what is added to each deviation; None is the mean of the deviations.
        correction: "none" for weights of 1.
        block: how many samples are drawn by the same P; None is the whole epoch.
        seed: of the draws.
    """
    return ActiveBias(
        size, warm_up=warm_up, epsilon=epsilon, correction=correction, block=block, seed=seed
    )


@register("bandit", level="dataset", bibtex=LIU)
def bandit(
    size: int,
    *,
    epochs: int,
    classes: int,
    rate: float = 0.1,
    floor: float = 0.5,
    block: int | None = None,
    seed: int | None = None,
) -> Bandit:
    r"""Samples drawn by a distribution that learns from the gradient norms of what it drew.

    In units of the uniform distribution, :math:`\pi = N p`: each time that a sample was drawn,
    :math:`\ln w \leftarrow \ln w + \mathrm{rate}\, |g|^2 / \pi^3`, then
    :math:`\pi = \max(\mathrm{floor}, c\,w)` with mean 1; and weights :math:`1 / \pi`.

    Args:
        size: N, the number of samples.
        epochs: of the training; not needed here.
        classes: how many; not needed here.
        rate: the step size.
        floor: the least chance of a sample, in units of the uniform one.
        block: how many samples are drawn by the same p; None is a sixteenth of an epoch.
        seed: of the draws.
    """
    return Bandit(size, rate=rate, floor=floor, block=block, seed=seed)


@register("infobatch", level="dataset", bibtex=QIN)
def infobatch(
    size: int,
    *,
    epochs: int,
    classes: int,
    ratio: float = 0.5,
    full_after: float = 0.875,
    seed: int | None = None,
) -> InfoBatch:
    r"""All samples but a random share r of those whose last loss is below the mean.

    The losses of the others of these are weighted by 1 / (1 - r).

    Args:
        size: N, the number of samples.
        epochs: of the training.
        classes: how many; not needed here.
        ratio: r.
        full_after: from which share of the epochs on all samples are trained on.
        seed: of the draws.
    """
    return InfoBatch(size, epochs, ratio=ratio, full_after=full_after, seed=seed)


@register("epoch-accuracy", level="dataset", bibtex=SMEDAS)
def epoch_accuracy(
    size: int,
    *,
    epochs: int,
    classes: int,
    alpha: float = 0.0,
    full_every: int | None = 2,
    least: int = 128,
    seed: int | None = None,
) -> EpochAccuracyFilter:
    r"""The samples with :math:`p_y - \max_{j \ne y} p_j \le \alpha` when they were last seen.

    Those are the misclassified ones, and with :math:`\alpha` > 0 the hardly correct ones.

    Args:
        size: N, the number of samples.
        epochs: of the training; not needed here.
        classes: how many; not needed here.
        alpha: the largest difference of the two highest probabilities that passes.
        full_every: every how many epochs all samples are trained on; None is only the first.
        least: the least number of samples in an epoch, filled up with random ones.
        seed: of the draws.
    """
    return EpochAccuracyFilter(size, alpha=alpha, full_every=full_every, least=least, seed=seed)


@register("random-pruning", level="dataset", bibtex="")
def random_pruning(
    size: int,
    *,
    epochs: int,
    classes: int,
    ratio: float = 0.5,
    full_after: float = 0.875,
    seed: int | None = None,
) -> RandomPruning:
    """A random subset of the samples, as many as "infobatch" would keep: its baseline.

    Args:
        size: N, the number of samples.
        epochs: of the training.
        classes: how many; not needed here.
        ratio: r of "infobatch".
        full_after: likewise.
        seed: of the draws.
    """
    return RandomPruning(size, epochs, ratio=ratio, full_after=full_after, seed=seed)
