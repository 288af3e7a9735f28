"""Figures are matplotlib's own, without pyplot, and have few points however many samples."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

from impsamp_fast import PickCounts, plot

SIZE = 10**7
IMPORTS = """
import sys, impsamp_fast
assert "matplotlib" not in sys.modules

class Missing:
    def find_spec(name, path, target=None):
        if name == "matplotlib":
            raise ModuleNotFoundError("no such module", name=name)

sys.meta_path.insert(0, Missing)
try:
    import impsamp_fast.plot
except ModuleNotFoundError as error:
    assert str(error) == "impsamp_fast.plot needs matplotlib; type: pip install matplotlib"
else:
    raise AssertionError
del sys.meta_path[0]
import impsamp_fast.plot
assert "matplotlib.pyplot" not in sys.modules
"""


def test_matplotlib_is_imported_on_demand_and_pyplot_never() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, cwd=Path(__file__).parents[2])


def large_data_set() -> list[Callable[[], Figure]]:
    counts = torch.arange(SIZE) % 1000
    classes = torch.arange(SIZE) % 7
    pictures = torch.zeros(1, 4, 4).expand(SIZE, 4, 4)
    points = torch.rand(SIZE // 10, 2)
    return [
        lambda: plot.pick_histogram(counts),
        lambda: plot.pick_grid(counts, pictures, classes, k=5),
        lambda: plot.class_balance(counts, classes),
        lambda: plot.pick_map(torch.rand(8, 8, 7), (points, classes[: len(points)])),
        lambda: plot.score_cdf(counts.float()),
    ]


@pytest.mark.parametrize("which", range(5))
def test_ten_million_samples_are_few_artists_and_points(which: int) -> None:
    figure = large_data_set()[which]()
    assert len(figure.findobj()) < 1500  # nearly all are ticks, and the parts of ten axes
    points = sum(len(line.get_xdata()) for line in figure.findobj(Line2D))
    points += sum(len(dots.get_offsets()) for dots in figure.findobj(PathCollection))
    points += sum(len(steps.get_data().edges) for steps in figure.findobj(StepPatch))
    assert points < 12_000


def test_threads_draw_at_the_same_time() -> None:
    def draw(seed: int) -> bytes:
        counts = PickCounts(100)
        counts.update(torch.arange(100) % 7)
        file = BytesIO()
        plot.pick_histogram(counts).savefig(file)
        return file.getvalue()

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(draw, range(6)))) == 1


def test_axes_that_are_given_are_drawn_on() -> None:
    figure = Figure()
    ax = figure.subplots()
    assert plot.pick_histogram(torch.arange(4), ax=ax) is figure
    assert ax.patches
