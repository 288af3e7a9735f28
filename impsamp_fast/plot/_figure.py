"""Axes of figures that pyplot knows nothing of, and their colours."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito (2008): distinct for colour-blind readers.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
FIRST, SECOND = PALETTE[:2]
GREY, PALE = "#777777", "#BBBBBB"
# Of ordered things: even in lightness, and alike for colour-blind readers.
ORDERED = "cividis"


def axes_on(ax: Axes | None, width: float = 6.4, height: float = 3.6) -> Axes:
    """The axes to draw on, of a new figure if none are given."""
    if ax is None:
        ax = new_figure(width, height).subplots()
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def new_figure(width: float, height: float) -> Figure:
    """Of a size in inches."""
    return Figure((width, height), layout="constrained")


def figure_of(ax: Axes) -> Figure:
    """The whole figure that axes are in."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
