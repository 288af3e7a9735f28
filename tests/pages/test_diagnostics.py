"""docs/diagnostics.md: its examples run as they stand, and its table has what metrics() returns."""

from typing import Any

import pytest
import torch

from tests.pages.pages import DOCS, code_in

PAGE = (DOCS / "diagnostics.md").read_text()
EXAMPLES = code_in(PAGE)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What there is after the first example."""
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(EXAMPLES[0], names)
    return names


def test_the_table_tells_of_all_numbers(names):
    table = " ".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    for name in names["numbers"]:
        group, _, part = name.partition("/")
        assert (
            f"`{name}`" in table
            or (f"`{group}/" in table and f"/{part}`" in table)
            or (group in ("loss", "class") and f"`{group}/" in table)
        ), name
    assert names["numbers"]["step"] == 150


def test_an_observer_is_told_of_the_scores(names):
    exec(EXAMPLES[1], names)
    for _ in range(101):
        names["selector"](names["x"], names["y"])
    scores = names["selector"].scores(names["x"], names["y"])
    assert names["largest"] == scores.max()


def test_a_logger_writes(names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[2], names)
    assert list((tmp_path / "runs" / "first").iterdir())
