"""The figures of a comparison, drawn from its results.json and pictures.npz alone."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import LogLocator, NullFormatter

from bench.report.results import ROW_LOOP, band, number_of_seeds, runs_of, smoothed, task_title
from bench.tasks import two_circles
from impsamp_fast import plot

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "savefig.dpi": 160,
}
AXES = {"seconds": "training time (s)", "step": "step"}
LEGEND_WIDTH = 120  # characters
MOMENTS = 200  # points of a curve against time
MAPPED, MOMENT = ("uniform", "gradient-norm-cdf"), 1000  # strategies and step of the README's maps


def draw(results: dict[str, Any], directory: Path) -> list[Path]:
    """Write all figures into `directory`; their paths."""
    paths = [directory / "curves.png"]
    draw_curves(results, paths[0])
    with rc_context(STYLE):
        with np.load(directory / "pictures.npz") as pictures:
            arrays = dict(pictures)
        labels = {name: entry["label"] for name, entry in results["strategies"].items()}
        for name, label in labels.items():
            if f"{name}/images" in arrays:
                paths.append(directory / f"most-picked-{name}.png")
                draw_most_picked(arrays, name, label, paths[-1])
        if any("/map/" in key for key in arrays):
            paths.append(directory / "picks.png")
            draw_picks(arrays, labels, paths[-1])
    return paths


def draw_curves(results: dict[str, Any], path: Path) -> None:
    """Accuracy and loss, against time and against steps."""
    with rc_context(STYLE):
        labels = [entry["label"] for entry in results["strategies"].values()]
        columns = max(1, min(4, LEGEND_WIDTH // max(map(len, labels))))
        lines = -(-len(labels) // columns)
        figure = Figure((10, 6.2 + 0.17 * lines), layout="constrained")
        axes = figure.subplots(2, 2, sharey="row", sharex="col")
        for row, (quantity, label) in enumerate(
            (("accuracy", "test accuracy"), ("loss", "test loss"))
        ):
            for column, against in enumerate(AXES):
                ax = axes[row, column]
                for name, entry in results["strategies"].items():
                    draw_band(ax, runs_of(results, name), against, quantity, entry)
            axes[row, 0].set_ylabel(label)
        for ax in axes[0]:
            draw_target(ax, results)
        axes[0, 0].set_ylim(*accuracy_limits(results))
        label_target(axes[0, 1], results)
        axes[1, 0].set_yscale("log")
        axes[1, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[1, 0].yaxis.set_major_formatter("{x:g}")
        axes[1, 0].yaxis.set_minor_formatter(NullFormatter())
        for ax, label in zip(axes[1], AXES.values(), strict=True):
            ax.set_xlabel(label)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=columns)
        figure.suptitle(caption(results), fontsize=10)
        figure.savefig(path)


def caption(results: dict[str, Any]) -> str:
    settings = results["settings"]
    return (
        f"{task_title(results)}: mean of {number_of_seeds(results)} and their range, "
        f"K = {settings['large_batch']}, n = {settings['mini_batch']}"
    )


def draw_band(
    ax: Axes, runs: list[dict[str, Any]], against: str, quantity: str, entry: dict[str, str]
) -> None:
    """Mean over seeds with the range between the lowest and the highest one."""
    grid, values = band(runs, against, quantity, MOMENTS)
    style = {"color": entry["colour"], "linestyle": entry["line"], "label": entry["label"]}
    ax.plot(grid, values.mean(0), linewidth=1.6, **style)
    ax.fill_between(
        grid, values.min(0), values.max(0), color=entry["colour"], alpha=0.15, linewidth=0
    )


def accuracy_limits(results: dict[str, Any]) -> tuple[float, float]:
    """Where the curves differ: from what the slowest had after a tenth of its run, or at its end.

    The row-by-row loop is left out: it would stretch the axis for a curve that goes nowhere.
    """
    low, high = [], []
    for run in results["runs"]:
        accuracy = smoothed(run["curve"]["accuracy"])
        if run["strategy"] != ROW_LOOP:
            low.append(
                min(accuracy[max(len(accuracy) // 10, min(2, len(accuracy) - 1))], accuracy[-1])
            )
        high.append(max(accuracy))
    bottom, top = min(low, default=0.0), max(high)
    # The margin must not vanish with the span: after one evaluation, bottom and top are the same.
    return bottom, top + max(0.05 * (top - bottom), 0.005)


def draw_target(ax: Axes, results: dict[str, Any]) -> None:
    if results["target"] is not None:
        ax.axhline(results["target"], color="#777777", linewidth=0.9, linestyle=(0, (4, 3)))


def label_target(ax: Axes, results: dict[str, Any]) -> None:
    """Beside the axes, where no curve runs; nothing if it is beyond them."""
    low, high = ax.get_ylim()
    if results["target"] is not None and low <= results["target"] <= high:
        ax.annotate(
            f"target\n{100 * results['target']:.2f}%",
            (1.0, results["target"]),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="#555555",
        )


def draw_picks(arrays: dict[str, np.ndarray], labels: dict[str, str], path: Path) -> None:
    """One row per strategy, one column per moment: decision map, border, picked points."""
    moments = sorted({int(key.rsplit("/", 1)[1]) for key in arrays if "/map/" in key})
    names = [name for name in labels if f"{name}/map/{moments[0]}" in arrays]
    rows, columns = len(names), len(moments)
    figure = Figure((2.15 * columns + 0.4, 2.15 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, name in enumerate(names):
        for column, step in enumerate(moments):
            draw_map(axes[row, column], arrays, name, step)
        axes[row, 0].set_ylabel(labels[name])
    for column, step in enumerate(moments):
        axes[0, column].set_title(f"step {step}")
    figure.savefig(path)


def draw_map(ax: Axes, arrays: dict[str, np.ndarray], name: str, step: int) -> None:
    if f"{name}/map/{step}" not in arrays:  # a run may end before this moment
        ax.axis("off")
        return
    inside = arrays[f"{name}/map/{step}"] / 255
    picks = arrays[f"{name}/points/{step}"], arrays[f"{name}/labels/{step}"]
    plot.pick_map(np.stack([1 - inside, inside], axis=2), picks, ax=ax)
    for centre in two_circles.CENTRES:
        circle = Circle(centre, two_circles.RADIUS, fill=False, linewidth=0.7, color="#555555")
        ax.add_patch(circle)


def draw_most_picked(arrays: dict[str, np.ndarray], name: str, label: str, path: Path) -> None:
    """The most picked pictures above, the least picked below, titled "class: picks"."""
    chosen = arrays[f"{name}/chosen"]
    pictures, classes = (
        dict(zip(chosen.tolist(), arrays[f"{name}/{kind}"], strict=True))
        for kind in ("images", "classes")
    )
    samples = np.split(chosen, 2)
    figure = plot.pick_grid(arrays[f"{name}/counts"], pictures, classes, samples=samples)
    figure.suptitle(label)
    figure.savefig(path)


def draw_overview(results: dict[str, Any], arrays: dict[str, np.ndarray], path: Path) -> None:
    """The README's figure: accuracy against time, and what uniform and importance pick."""
    with rc_context(STYLE):
        figure = Figure((10, 3.5), layout="constrained")
        ax, *maps = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
        for name in ("uniform", "highest-loss", "highest-loss-cdf", "gradient-norm-cdf"):
            if name in results["strategies"]:
                entry = results["strategies"][name]
                draw_band(ax, runs_of(results, name), "seconds", "accuracy", entry)
        draw_target(ax, results)
        ax.set(xlabel=AXES["seconds"], ylabel="test accuracy")
        ax.set_ylim(*accuracy_limits(results))
        label_target(ax, results)
        ax.legend(loc="lower right")
        for map_ax, name in zip(maps, MAPPED, strict=True):
            draw_map(map_ax, arrays, name, MOMENT)
            map_ax.set_title(f"{results['strategies'][name]['label']}, step {MOMENT}")
        figure.savefig(path)
