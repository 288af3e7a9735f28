"""Figures of what is picked, and of how a run's steps were drawn.

::

    import impsamp_fast.plot

    figure = impsamp_fast.plot.pick_histogram(selector.counts)
    figure.savefig("picks.png")

Each function returns a matplotlib ``Figure``, which no window shows, no file has and nothing has to
close: pyplot is not used. With ``ax=`` it draws there, and returns that figure. However large the
data set, a figure has few points. Colours are told apart by colour-blind readers too.

The library itself does not import this module; it needs matplotlib.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ModuleNotFoundError(
        "impsamp_fast.plot needs matplotlib; type: pip install matplotlib", name="matplotlib"
    ) from None

from impsamp_fast.plot.decision import decision_map as decision_map
from impsamp_fast.plot.decision import pick_map as pick_map
from impsamp_fast.plot.history import History as History
from impsamp_fast.plot.picks import class_balance as class_balance
from impsamp_fast.plot.picks import pick_grid as pick_grid
from impsamp_fast.plot.picks import pick_histogram as pick_histogram
from impsamp_fast.plot.training import classes_over_training as classes_over_training
from impsamp_fast.plot.training import score_cdf as score_cdf
from impsamp_fast.plot.training import scores_over_training as scores_over_training
from impsamp_fast.plot.training import tau_over_training as tau_over_training
