"""README.md: short, its example runs as it stands, and its numbers are those of bench/results."""

import re
import runpy
from pathlib import Path

import pytest
import torch

from bench.report import readme
from tests.pages.pages import README, code_in

pytestmark = pytest.mark.usefixtures("one_thread")

MOST_LINES = 130
MARKED = re.compile(r"<!-- bench: (.+?) -->\n.*?<!-- end of bench: \1 -->", re.DOTALL)
# A number that somebody may have measured: with a unit, a share, or a decimal point.
MEASURED = re.compile(r"\d+(?:\.\d+)?\s?(?:µs|ms|s|%|times|x)\b|\b\d+\.\d+\b")


def test_it_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_the_example_runs_and_learns(tmp_path: Path) -> None:
    (example,) = code_in(README.read_text())
    script = tmp_path / "example.py"
    script.write_text(example)
    torch.manual_seed(0)
    names = runpy.run_path(str(script))
    with torch.no_grad():
        accuracy = (names["model"](names["x"]).argmax(dim=1) == names["y"]).float().mean()
    assert accuracy > 0.9  # always guessing the larger class: 0.5


def test_numbers_that_are_measured_stand_in_marked_parts() -> None:
    text = re.sub(r"^```.*?^```$", "", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    prose = MARKED.sub("", text)
    versions = re.sub(r"(Python|torch) \d+\.\d+", "", prose)
    assert MEASURED.findall(versions) == []


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, parts in readme.PARTS.items() for name in parts]
)
def test_the_tables_are_those_of_the_committed_results(page: str, name: str) -> None:
    text = (readme.ROOT / page).read_text()
    assert readme.replace_part(text, name, readme.PARTS[page][name]()) == text


def test_every_marked_part_is_made_of_a_result() -> None:
    for page in readme.ROOT.glob("docs/**/*.md"):
        marked = set(re.findall(r"<!-- bench: (.+?) -->", page.read_text()))
        assert marked == set(readme.PARTS.get(page.relative_to(readme.ROOT).as_posix(), ()))
