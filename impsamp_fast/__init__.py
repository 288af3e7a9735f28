"""Importance sampling for PyTorch training at almost no cost.

The operators :func:`row_stats`, :func:`score`, :func:`draw` and :func:`select` work on tensors;
:class:`Selector` turns them into a training step, from the step that a :class:`StartRule` says.
"""

from impsamp_fast._extension import build_info
from impsamp_fast.memory import PickCounts
from impsamp_fast.ops import Draw, RowStats, Selection, draw, row_stats, score, select
from impsamp_fast.selector import MiniBatch, Selector
from impsamp_fast.start import After, Always, LossRatio, StartRule, VarianceReduction

__version__ = "0.1.0"

__all__ = [
    "After",
    "Always",
    "Draw",
    "LossRatio",
    "MiniBatch",
    "PickCounts",
    "RowStats",
    "Selection",
    "Selector",
    "StartRule",
    "VarianceReduction",
    "__version__",
    "build_info",
    "draw",
    "row_stats",
    "score",
    "select",
]
