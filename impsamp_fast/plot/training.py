"""How a run's steps were drawn: scores, effective sample size and classes over training."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from impsamp_fast._checks import check_integer
from impsamp_fast.ops import Selection
from impsamp_fast.plot._figure import (
    FIRST,
    GREY,
    ORDERED,
    SECOND,
    axes_on,
    figure_of,
    new_figure,
)
from impsamp_fast.plot.history import History, quantiles

# A history, or what `metrics()` returned at several steps.
Run = History | Iterable[Mapping[str, float]]


def scores_over_training(run: Run, *, ax: Axes | None = None) -> Figure:
    """The scores' median, the band of all but 5% at either end, and the largest one.

    Args:
        run: a history, or the ``metrics()`` of several steps.
        ax: where to draw.

    Raises:
        ValueError: if no step has scores.
    """
    steps = _steps(run, "score/q50")
    ax = axes_on(ax)
    x = [numbers["step"] for numbers in steps]
    low, median, high, largest = (
        [numbers[f"score/{name}"] for numbers in steps] for name in ("q05", "q50", "q95", "max")
    )
    ax.fill_between(x, low, high, color=FIRST, alpha=0.2, linewidth=0, label="5% to 95%")
    ax.plot(x, median, color=FIRST, label="median")
    ax.plot(x, largest, color=SECOND, linewidth=0.9, label="largest")
    ax.set(xlabel="step", ylabel="score")
    if min(low) > 0:
        ax.set_yscale("log")
    ax.legend(frameon=False)
    return figure_of(ax)


def score_cdf(
    scores: History | Selection | Tensor, *, moments: int = 5, ax: Axes | None = None
) -> Figure:
    """The share of the rows that have at most a score, at one or several steps.

    Args:
        scores: a history, a selection, or scores [K].
        moments: steps of a history to show, at least 1, evenly spaced over those that it has.
        ax: where to draw.

    Raises:
        TypeError, ValueError: if ``moments`` is not as described, or there are no scores.
    """
    moments, ax = check_integer("moments", moments, 1), axes_on(ax)
    if isinstance(scores, History):
        scores.flush()
        steps = list(scores.quantiles)
        shown = torch.linspace(0, len(steps) - 1, min(moments, len(steps))).round().int().tolist()
        curves = {f"step {steps[i]}": scores.quantiles[steps[i]] for i in shown}
    else:
        values = scores.score if isinstance(scores, Selection) else torch.as_tensor(scores)
        curves = {"": quantiles(values)}
    curves = {label: curve for label, curve in curves.items() if not curve.isnan().any()}
    if not curves:
        raise ValueError("no step has finite scores")
    colours = colormaps[ORDERED].resampled(len(curves) + 1)  # its last is too pale for a line
    for i, (label, curve) in enumerate(curves.items()):
        levels = torch.linspace(0, 1, len(curve)).tolist()
        ax.plot(curve.tolist(), levels, color=colours(i), label=label)
    if min(float(curve[0]) for curve in curves.values()) > 0:
        ax.set_xscale("log")
    ax.set(xlabel="score", ylabel="share of rows", ylim=(0, 1))
    if len(curves) > 1:
        ax.legend(frameon=False)
    return figure_of(ax)


def tau_over_training(run: Run) -> Figure:
    """Tau, of the steps that were scored, above the effective sample size of the drawn rows.

    See :class:`~impsamp_fast.Report` for both.

    Args:
        run: a history, or the ``metrics()`` of several steps.

    Raises:
        ValueError: if no step has an effective sample size.
    """
    steps = _steps(run, "effective_size")
    figure = new_figure(6.4, 4.8)
    upper, lower = map(axes_on, figure.subplots(2, 1, sharex=True))
    x = [numbers["step"] for numbers in steps]
    upper.plot(x, [numbers.get("tau", torch.nan) for numbers in steps], color=FIRST)
    upper.axhline(1, color=GREY, linewidth=0.9, linestyle="--")  # nothing is gained
    upper.set_ylabel("tau")
    lower.plot(x, [numbers["effective_size"] for numbers in steps], color=FIRST)
    lower.set(xlabel="step", ylabel="effective sample size")
    lower.set_ylim(bottom=0)
    return figure


def classes_over_training(
    run: Run, names: Sequence[str] | None = None, *, ax: Axes | None = None
) -> Figure:
    """Each class's share of the drawn rows, a row of colours for each; for at most 32 classes.

    Args:
        run: a history, or the ``metrics()`` of several steps.
        names: of the classes.
        ax: where to draw.

    Raises:
        ValueError: if no step has shares of classes.
    """
    steps = _steps(run, "class/0")
    C = max(sum(name.startswith("class/") for name in numbers) for numbers in steps)
    shares = [[numbers.get(f"class/{c}", 0.0) for numbers in steps] for c in range(C)]
    ax = axes_on(ax, height=max(2.4, 0.24 * C + 1))
    mesh = ax.pcolormesh(
        _edges([numbers["step"] for numbers in steps]),
        [c - 0.5 for c in range(C + 1)],
        shares,
        cmap=ORDERED,
        vmin=0,
    )
    ax.set_yticks(range(C), [str(c) for c in range(C)] if names is None else list(names))
    ax.set(xlabel="step", ylabel="class")
    figure = figure_of(ax)
    figure.colorbar(mesh, ax=ax, label="share of drawn rows")
    return figure


def _steps(run: Run, name: str) -> list[Mapping[str, float]]:
    """The numbers of the steps that have this one."""
    if isinstance(run, History):
        run.flush()
        run = run.numbers.values()
    steps = [numbers for numbers in run if name in numbers]
    if not steps:
        raise ValueError(f'no step of the run has "{name}"')
    return steps


def _edges(steps: list[float]) -> list[float]:
    """Midway between steps, and as far beyond the first and the last."""
    if len(steps) == 1:
        return [steps[0] - 0.5, steps[0] + 0.5]
    inner = [(a + b) / 2 for a, b in pairwise(steps)]
    return [2 * steps[0] - inner[0], *inner, 2 * steps[-1] - inner[-1]]
