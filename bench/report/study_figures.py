"""The figures of the papers' studies, drawn from results alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure

from bench.report.figures import STYLE, accuracy_limits, caption, draw_band, draw_target
from bench.report.results import runs_of
from bench.report.thresholds_table import label_of, name_of, studied


def draw(results: dict[str, Any], path: Path) -> Path:
    """Draws the figure of a study's results."""
    FIGURES[results["settings"]["study"]](results, path)
    return path


def draw_thresholds(results: dict[str, Any], path: Path) -> None:
    """Accuracy against time: one panel a strategy, one curve a threshold."""
    found = studied(results)
    with rc_context(STYLE):
        figure = Figure((2.6 * len(found) + 0.6, 3.4), layout="constrained")
        axes = figure.subplots(1, len(found), sharey=True, squeeze=False)
        for ax, (strategy, thresholds) in zip(axes[0], found.items(), strict=True):
            # From dark to light in a map that colour-blind readers see alike; yellow is too pale.
            shades = np.linspace(0.0, 0.85, len(thresholds))
            colours = colormaps["cividis"](shades)
            entry = results["strategies"]["uniform"]
            draw_band(ax, runs_of(results, "uniform"), "seconds", "accuracy", entry)
            for threshold, colour in zip(thresholds, colours, strict=True):
                looks = {"colour": colour, "line": "-", "label": f"{threshold:g}"}
                runs = runs_of(results, name_of(strategy, threshold))
                draw_band(ax, runs, "seconds", "accuracy", looks)
            draw_target(ax, results)
            ax.set(title=label_of(results, strategy), xlabel="training time (s)")
        axes[0, 0].set(ylabel="test accuracy", ylim=accuracy_limits(results))
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        figure.suptitle(f"{caption(results)}; thresholds", fontsize=10)
        figure.savefig(path)


FIGURES: dict[str, Callable[[dict[str, Any], Path], None]] = {"thresholds": draw_thresholds}
