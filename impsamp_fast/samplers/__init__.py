"""Samplers that choose the samples of each epoch by what training has shown about them.

:class:`DatasetSampler` says how they are used with a ``DataLoader``, and :class:`WithIndex` makes a
data set hand out its samples' numbers.
"""

from impsamp_fast.samplers.active_bias import ActiveBias
from impsamp_fast.samplers.bandit import Bandit
from impsamp_fast.samplers.base import DatasetSampler
from impsamp_fast.samplers.early_importance import EarlyImportance
from impsamp_fast.samplers.epoch_accuracy import EpochAccuracyFilter
from impsamp_fast.samplers.infobatch import InfoBatch, RandomPruning
from impsamp_fast.samplers.online_batch import OnlineBatchSelection
from impsamp_fast.samplers.recency_bias import RecencyBias
from impsamp_fast.samplers.weighted import WeightedSampler
from impsamp_fast.samplers.with_index import WithIndex

__all__ = [
    "ActiveBias",
    "Bandit",
    "DatasetSampler",
    "EarlyImportance",
    "EpochAccuracyFilter",
    "InfoBatch",
    "OnlineBatchSelection",
    "RandomPruning",
    "RecencyBias",
    "WeightedSampler",
    "WithIndex",
]
