"""Samplers that choose the samples of each epoch by what training has shown about them.

:class:`DatasetSampler` says how they are used with a ``DataLoader``, and :class:`WithIndex` makes a
data set hand out its samples' numbers.
"""

from impsamp_fast.dataset.active_bias import ActiveBias
from impsamp_fast.dataset.bandit import Bandit
from impsamp_fast.dataset.batch_loss import BatchLossPruning
from impsamp_fast.dataset.cached_errors import CachedErrors
from impsamp_fast.dataset.early_importance import EarlyImportance
from impsamp_fast.dataset.epoch_accuracy import EpochAccuracyFilter
from impsamp_fast.dataset.evolved_pruning import EvolvedPruning
from impsamp_fast.dataset.infobatch import InfoBatch, RandomPruning
from impsamp_fast.dataset.online_batch import OnlineBatchSelection
from impsamp_fast.dataset.random_subsets import RandomSubsets
from impsamp_fast.dataset.recency_bias import RecencyBias
from impsamp_fast.dataset.robust_importance import RobustImportance
from impsamp_fast.dataset.sampler import DatasetSampler
from impsamp_fast.dataset.seta import SlidingWindow
from impsamp_fast.dataset.weighted import WeightedSampler
from impsamp_fast.dataset.with_index import WithIndex

__all__ = [
    "ActiveBias",
    "Bandit",
    "BatchLossPruning",
    "CachedErrors",
    "DatasetSampler",
    "EarlyImportance",
    "EpochAccuracyFilter",
    "EvolvedPruning",
    "InfoBatch",
    "OnlineBatchSelection",
    "RandomPruning",
    "RandomSubsets",
    "RecencyBias",
    "RobustImportance",
    "SlidingWindow",
    "WeightedSampler",
    "WithIndex",
]
