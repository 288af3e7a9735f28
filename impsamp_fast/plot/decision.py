"""What a model of two inputs decides, and the points that it is trained on."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from impsamp_fast._checks import check_integer
from impsamp_fast.batch._without_trace import without_trace
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.plot._figure import PALE, PALETTE, axes_on, figure_of

Extent = tuple[float, float, float, float]

_SQUARE = (-1.0, 1.0, -1.0, 1.0)
_STRENGTH = 0.3  # of a class's colour where it is certain: points of its full colour stand out
_MOST_POINTS = 10_000


def decision_map(
    model: Callable[[Tensor], Tensor],
    extent: Extent = _SQUARE,
    cells: int = 160,
    device: torch.device | str | None = None,
) -> Tensor:
    """The probabilities of the classes over a rectangle, [cells, cells, C], rows from the bottom.

    The model is called in evaluation mode and without gradients, with the centres of all cells at
    once, and its modes are set back.

    Args:
        model: from points [N, 2] to logits [N, C].
        extent: left, right, bottom and top.
        cells: along either side, at least 1.
        device: of the points.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """
    cells = check_integer("cells", cells, 1)
    centres = (torch.arange(cells) + 0.5) / cells
    left, right, bottom, top = extent
    x, y = left + centres * (right - left), bottom + centres * (top - bottom)
    points = torch.cartesian_prod(y, x).flip(1).to(device)
    logits = without_trace([model], points, False, model, points)
    if logits.dim() != 2 or len(logits) != len(points):
        raise ValueError(
            f"the model returned {list(logits.shape)} of {len(points)} points, expected [N, C]"
        )
    return logits.detach().float().softmax(1).cpu().reshape(cells, cells, -1)


def pick_map(
    decision: Tensor,
    picks: MiniBatch | tuple[Any, Any],
    extent: Extent = _SQUARE,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Picked points of two inputs, coloured by their classes, on the decision map.

    The map is white where classes are equally likely. Of more than 10,000 points that many are
    drawn, evenly spaced in their order.

    Args:
        decision: what :func:`decision_map` returned: [rows, columns, C].
        picks: a mini-batch, or its points [n, 2] and their classes [n].
        extent: left, right, bottom and top of the map.
        ax: where to draw.

    Raises:
        ValueError: for an argument that is not as described.
    """
    points, classes = (picks.x, picks.y) if isinstance(picks, MiniBatch) else picks
    points, classes = (torch.as_tensor(part).detach().cpu() for part in (points, classes))
    if points.dim() != 2 or points.shape[1] != 2 or classes.shape != points.shape[:1]:
        raise ValueError(
            f"picks has points {list(points.shape)} and classes {list(classes.shape)}, expected "
            "[n, 2] and [n]"
        )
    decision = torch.as_tensor(decision).detach().cpu().float()
    if decision.dim() != 3 or decision.shape[2] < 2:
        raise ValueError(f"decision has shape {list(decision.shape)}, expected [rows, columns, C]")
    ax = axes_on(ax, 4, 4)
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=PALE)
    ax.imshow(_colours(decision).numpy(), extent=extent, origin="lower")
    stride = -(-max(1, len(points)) // _MOST_POINTS)
    points, classes = points[::stride], classes[::stride]
    colours = _palette(max(decision.shape[2], int(classes.max()) + 1 if len(classes) else 0))
    x, y = points.T.tolist()
    ax.scatter(x, y, s=6, c=colours[classes.long()].tolist(), linewidth=0.3, edgecolor="white")
    ax.set(xlim=extent[:2], ylim=extent[2:])
    return figure_of(ax)


def _palette(classes: int) -> Tensor:
    """RGB, [classes, 3], which begins again where classes are more than colours."""
    colours = cycle(map(to_rgb, PALETTE))
    return torch.tensor([next(colours) for _ in range(classes)])


def _colours(decision: Tensor) -> Tensor:
    """RGB of each cell: its classes' mixed, the paler the less certain they are."""
    C = decision.shape[2]
    certain = (decision.amax(2, keepdim=True) * C - 1) / (C - 1)
    mixed = decision @ _palette(C)
    return (1 - _STRENGTH * certain * (1 - mixed)).clamp(0, 1)
