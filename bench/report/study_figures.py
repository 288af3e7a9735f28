"""The figures of the papers' studies, drawn from results alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from bench.report import claims, smedas_table
from bench.report.balance_table import distance, picked_shares
from bench.report.figures import AXES, STYLE, accuracy_limits, caption, draw_band, draw_target
from bench.report.results import number_of_seeds, runs_of, task_title
from bench.report.thresholds_table import label_of, name_of, studied

PICKED = (*claims.TOP, *claims.CDF)  # whose pictures are shown
SHOWN = 7  # of either kind, in a row


def draw(results: dict[str, Any], path: Path) -> Path:
    """Draws the figure of a study's results."""
    FIGURES[results["settings"]["study"]](results, path)
    return path


def draw_thresholds(results: dict[str, Any], path: Path) -> None:
    """Accuracy against time, and against steps: one panel a strategy, one curve a threshold."""
    found = studied(results)
    with rc_context(STYLE):
        figure = Figure((2.6 * len(found) + 0.6, 5.8), layout="constrained")
        axes = figure.subplots(2, len(found), sharex="row", sharey=True, squeeze=False)
        for row, (against, label) in zip(axes, AXES.items(), strict=True):
            for ax, (strategy, thresholds) in zip(row, found.items(), strict=True):
                # From dark to light in a map that all readers see alike; yellow is too pale.
                shades = np.linspace(0.0, 0.85, len(thresholds))
                colours = colormaps["cividis"](shades)
                entry = results["strategies"]["uniform"]
                draw_band(ax, runs_of(results, "uniform"), against, "accuracy", entry)
                for threshold, colour in zip(thresholds, colours, strict=True):
                    looks = {"colour": colour, "line": "-", "label": f"{threshold:g}"}
                    runs = runs_of(results, name_of(strategy, threshold))
                    draw_band(ax, runs, against, "accuracy", looks)
                draw_target(ax, results)
                ax.set(title=label_of(results, strategy), xlabel=label)
            row[0].set(ylabel="test accuracy", ylim=accuracy_limits(results))
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        figure.suptitle(f"{caption(results)}; thresholds", fontsize=10)
        figure.savefig(path)


def draw_balance(results: dict[str, Any], path: Path) -> None:
    """Accuracy and distance from balance over the epochs, and what is picked of each class."""
    strategies = results["strategies"]
    with rc_context(STYLE):
        figure = Figure((10, 6.2), layout="constrained")
        above, below = figure.subfigures(2, 1)
        accuracy, balance = above.subplots(1, 2)
        for name, entry in strategies.items():
            looks = {"color": entry["colour"], "linestyle": entry["line"], "label": entry["label"]}
            runs = runs_of(results, name)
            curves = np.mean([run["curve"]["accuracy"] for run in runs], axis=0)
            epochs = range(1, len(curves) + 1)
            accuracy.plot(epochs, curves, **looks)
            balance.plot(epochs, [distance(s) for s in picked_shares(results, name)], **looks)
        of_data = distance(results["classes"]["shares"])
        balance.axhline(of_data, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)))
        balance.annotate("data", (1.0, of_data), xycoords=("axes fraction", "data"), fontsize=8)
        accuracy.set(xlabel="epoch", ylabel="test accuracy")
        balance.set(xlabel="epoch", ylabel="distance of the picks from balance", ylim=(0, None))
        accuracy.legend()
        shares_of_classes(results, below)
        for ax in (accuracy, balance):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        title = f"{task_title(results)}: mean of {number_of_seeds(results)}"
        above.suptitle(title, fontsize=10)
        figure.savefig(path)


def shares_of_classes(results: dict[str, Any], figure: SubFigure) -> None:
    """One panel a strategy: the classes' shares of its picks, stacked, over the epochs."""
    names = results["classes"]["names"]
    colours = colormaps["cividis"](np.linspace(0.0, 1.0, len(names)))
    axes = figure.subplots(1, len(results["strategies"]), sharey=True, squeeze=False)[0]
    for ax, (name, entry) in zip(axes, results["strategies"].items(), strict=True):
        shares = np.transpose(picked_shares(results, name))
        epochs = range(1, shares.shape[1] + 1)
        ax.stackplot(epochs, shares, colors=colours, labels=names, edgecolor="white", linewidth=0.5)
        ax.set(title=entry["label"], xlabel="epoch", ylim=(0, 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("share of the picks")
    if len(names) <= 10:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right center", title="class")


def draw_smedas(results: dict[str, Any], path: Path) -> None:
    """Test accuracy over the epochs: one panel for each data set, network and batch size."""
    found = smedas_table.kinds(results)
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    with rc_context(STYLE):
        figure = Figure((max(3.3 * columns, 7.0), 2.9 * lines + 0.9), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).flatten()
        for ax, (kind, ways) in zip(axes, found.items(), strict=False):
            for way, runs in ways.items():
                curve = np.mean([run["curve"]["accuracy"] for run in runs], axis=0)
                entry = results["strategies"][runs[0]["strategy"]]
                looks = {"color": entry["colour"], "linestyle": entry["line"], "label": way}
                ax.plot(range(1, len(curve) + 1), curve, **looks)
            data, network, batch = kind
            ax.set(title=f"{data}, {network}, {batch}", xlabel="epoch", ylabel="test accuracy")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        for ax in axes[len(found) :]:
            ax.remove()
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.savefig(path)


def draw_picked(results: dict[str, Any], arrays: dict[str, np.ndarray], path: Path) -> None:
    """A row for each strategy of the paper: the most picked, the least picked, and all counts."""
    names = [name for name in PICKED if f"{name}/images" in arrays]
    with rc_context(STYLE | {"axes.grid": False}):
        figure = Figure((12, 0.95 * len(names) + 0.6), layout="constrained")
        *halves, last = figure.subfigures(1, 3, width_ratios=(1.08, 1, 0.35))
        for half, part in enumerate(halves):
            part.suptitle(("most picked", "least picked")[half], fontsize=10)
            rows = part.subplots(len(names), SHOWN, squeeze=False)
            for name, axes in zip(names, rows, strict=True):
                images, classes, chosen = (
                    np.split(arrays[f"{name}/{kind}"], 2)[half][:SHOWN]
                    for kind in ("images", "classes", "chosen")
                )
                counts = arrays[f"{name}/counts"][chosen]
                for ax, image, of_class, count in zip(axes, images, classes, counts, strict=True):
                    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
                    ax.set_title(f"{of_class}: {count}", fontsize=6, pad=2)
                    ax.set(xticks=[], yticks=[])
                    ax.spines[:].set_visible(False)
                if half == 0:
                    axes[0].set_ylabel(results["strategies"][name]["label"], fontsize=7, wrap=True)
        last.suptitle("samples by picks", fontsize=10)
        counted = last.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for ax, name in zip(counted, names, strict=True):
            ax.stairs(np.bincount(arrays[f"{name}/counts"]), fill=True, color="#0072B2")
            ax.set(yscale="log", ylim=(0.7, None))
            ax.tick_params(labelsize=6)
        figure.savefig(path)


FIGURES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "thresholds": draw_thresholds,
    "balance": draw_balance,
    "smedas": draw_smedas,
}
