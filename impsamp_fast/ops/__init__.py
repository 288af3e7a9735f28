"""The functional API: row statistics, scores, draws, and all of it in one call.

The operators are those of ``torch.ops.impsamp_fast``: modes, transforms, ``torch.compile`` and
kernels that are registered for them (``torch.library.impl``) see every call, eager ones too.
Nothing here is differentiated: results never require grad.

On the CPU what is wrong raises. An accelerator would have to be waited for, so there only what the
host can see raises, and wrong values are marked: a row with a bad logit, target, class weight or
feature has NaN in every statistic; a draw that cannot be made has ``prob`` NaN; a selection says it
in its ``status``. With ``validate=True`` the call waits for the device and raises the CPU's error.
"""

from impsamp_fast.ops import (  # noqa: F401 (registers what they hold)
    _metal_draw,
    _metal_rows,
    _metal_stages,
    _sample_memory,
    _stages,
    _vmap,
)
from impsamp_fast.ops._corrected import Kind, corrected
from impsamp_fast.ops._draw import Draw, draw
from impsamp_fast.ops._row_stats import RowStats, row_stats
from impsamp_fast.ops._score import score
from impsamp_fast.ops._select import Selection, raise_for_status, select
from impsamp_fast.ops._smoothed import Smoothed, smoothed

__all__ = [
    "Draw",
    "Kind",
    "RowStats",
    "Selection",
    "Smoothed",
    "corrected",
    "draw",
    "raise_for_status",
    "row_stats",
    "score",
    "select",
    "smoothed",
]
