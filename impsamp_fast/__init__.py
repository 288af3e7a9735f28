"""Importance sampling for PyTorch training: score, draw and weight in one compiled call.

The operators :func:`row_stats`, :func:`score`, :func:`draw` and :func:`select` work on tensors;
:class:`Selector` turns them into a training step, from the step that a :class:`StartRule` says.
:mod:`~impsamp_fast.strategies` has the strategies of the literature by name, composed of these
parts; :mod:`~impsamp_fast.dataset` those that choose samples of the data set;
:mod:`~impsamp_fast.distributed` draws and selects from the rows of all ranks of a process group.
"""

from impsamp_fast import dataset as dataset
from impsamp_fast import distributed as distributed
from impsamp_fast import strategies as strategies
from impsamp_fast._extension import build_info
from impsamp_fast._memory import keep_freed_memory
from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.adaptive import ConstantTime, ConstantVariance
from impsamp_fast.batch.autoassist import AutoAssist
from impsamp_fast.batch.break_even import BreakEven
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.diversity import Diversity
from impsamp_fast.batch.draw_rules import (
    DrawRule,
    LossSplit,
    MaxVariance,
    ScoreAsWeight,
    TopQuantile,
)
from impsamp_fast.batch.evolved_score import EvolvedScore
from impsamp_fast.batch.filters import AccuracyFilter, Filter
from impsamp_fast.batch.graph_step import GraphStep
from impsamp_fast.batch.learned_score import LearnedScore
from impsamp_fast.batch.mentor import Curriculum, MentorNet, MentorScore
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.observation import Observation
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.reducible_loss import ReducibleLoss, irreducible_losses
from impsamp_fast.batch.report import Report
from impsamp_fast.batch.scoring_pass import ScoringPass
from impsamp_fast.batch.second_model import SecondModel
from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After, Always, LossRatio, StartRule, VarianceReduction
from impsamp_fast.batch.step_time import StepTime
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.batch.together import Together
from impsamp_fast.dataset import (
    ActiveBias,
    Bandit,
    BatchLossPruning,
    CachedErrors,
    DatasetSampler,
    EarlyImportance,
    EpochAccuracyFilter,
    EvolvedPruning,
    InfoBatch,
    OnlineBatchSelection,
    RandomPruning,
    RandomSubsets,
    RecencyBias,
    RobustImportance,
    SlidingWindow,
    WeightedSampler,
    WithIndex,
)
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.dataset.sample_memory import SampleMemory
from impsamp_fast.ops import (
    Draw,
    RowStats,
    Selection,
    Smoothed,
    corrected,
    draw,
    row_stats,
    score,
    select,
    smoothed,
)

__version__ = "0.1.0"

__all__ = [
    "Accumulator",
    "AccuracyFilter",
    "ActiveBias",
    "After",
    "Always",
    "AutoAssist",
    "Bandit",
    "BatchLossPruning",
    "BatchStrategy",
    "BreakEven",
    "CachedErrors",
    "Columns",
    "ConstantTime",
    "ConstantVariance",
    "Curriculum",
    "DatasetSampler",
    "Diversity",
    "Draw",
    "DrawRule",
    "EarlyImportance",
    "EpochAccuracyFilter",
    "EvolvedPruning",
    "EvolvedScore",
    "Filter",
    "GraphStep",
    "InfoBatch",
    "LearnedScore",
    "LossRatio",
    "LossSplit",
    "MaxVariance",
    "MentorNet",
    "MentorScore",
    "MiniBatch",
    "Observation",
    "OnlineBatchSelection",
    "PickCounts",
    "Queue",
    "RandomPruning",
    "RandomSubsets",
    "RecencyBias",
    "ReducibleLoss",
    "Report",
    "RobustImportance",
    "RowStats",
    "SampleMemory",
    "ScoreAsWeight",
    "ScoringPass",
    "SecondModel",
    "Selection",
    "SelectiveBackprop",
    "Selector",
    "SlidingWindow",
    "Smoothed",
    "StartRule",
    "StepTime",
    "Together",
    "TopQuantile",
    "VarianceReduction",
    "WeightedSampler",
    "WithIndex",
    "__version__",
    "build_info",
    "corrected",
    "draw",
    "irreducible_losses",
    "keep_freed_memory",
    "row_stats",
    "score",
    "select",
    "smoothed",
]
