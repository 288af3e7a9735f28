"""The figures of docs/pictures.md are small, and drawn of the committed recording alone."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.report import pictures, readme
from bench.report.files import RESULTS
from impsamp_fast import plot

LARGEST = 250_000  # bytes


def test_every_figure_is_drawn_of_the_recording(tmp_path: Path) -> None:
    with np.load(pictures.RECORDED) as recorded:
        drawn = pictures.draw(dict(recorded), tmp_path)
    functions = {name for name, value in vars(plot).items() if callable(value)}
    assert {path.stem for path in drawn} == {
        f"plot-{name.replace('_', '-')}" for name in functions - {"History", "decision_map"}
    }
    for path in drawn:
        assert path.stat().st_size < LARGEST
        with Image.open(path) as picture, Image.open(RESULTS / path.name) as committed:
            assert picture.size == committed.size
            assert "Software" not in picture.info


def test_the_page_shows_every_figure() -> None:
    page = (readme.ROOT / "docs" / "pictures.md").read_text()
    shown = set(re.findall(r"\(\.\./bench/results/(.*\.png)\)", page))
    assert shown == {"report.png", *(path.name for path in RESULTS.glob("plot-*.png"))}
    assert all((RESULTS / name).stat().st_size < LARGEST for name in shown)


def test_a_history_is_unpacked_as_it_was() -> None:
    history = plot.History()
    history.numbers[3] = {"step": 3.0, "tau": 1.5, "seconds/whole": 0.1}
    history.quantiles[3] = torch.arange(101, dtype=torch.float64)
    unpacked = pictures.history_of(pictures.packed(history))
    assert unpacked.numbers == {3: {"step": 3.0, "tau": 1.5}}
    torch.testing.assert_close(unpacked.quantiles, history.quantiles)


@pytest.mark.parametrize("name", ["scores_over_training", "score_cdf"])
def test_figures_begin_with_the_first_step_by_importance(name: str) -> None:
    with np.load(pictures.RECORDED) as recorded:
        history = pictures.history_of(dict(recorded))
    assert min(history.quantiles) == min(
        step for step, numbers in history.numbers.items() if numbers["importance"]
    )
    assert getattr(plot, name)(history).axes[0].lines
