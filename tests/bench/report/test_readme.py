"""The parts of README.md that are written by `python -m bench readme`."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.report import claims, device_table, gpu_table, readme, short_tables
from bench.report.claims import Claim
from bench.report.files import RESULTS, read_json
from tests.bench import made_up


def test_readme_parts_are_replaced_between_their_marks() -> None:
    text = "a\n<!-- bench: x -->\nold\n<!-- end of bench: x -->\nb\n"
    assert readme.replace_part(text, "x", "new\n") == text.replace("old", "new")
    assert readme.replace_part(text, "x", "") == text.replace("old", "Not measured yet: x.")
    with pytest.raises(SystemExit, match="has 0 parts <!-- bench: y -->"):
        readme.replace_part(text, "y", "new\n")


def test_a_figure_has_what_the_paper_found_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIMS", {"mnist": [Claim("it works", lambda _: ("no", "no"))]})
    part = readme.pictured("mnist", "Curves", lambda _: "The table.\n", figure="-curves")()
    figure, head, row, table = (part.split("\n")[i] for i in (0, 2, 4, 6))
    assert figure == "![Curves](../bench/results/mnist-curves.png)"
    assert head.startswith("| the paper found |")
    assert row.startswith("| it works ")
    assert table == "The table."
    assert readme.pictured("unheard-of", "Curves")() == ""


def test_a_part_shows_the_committed_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    (tmp_path / "gpu.json").write_text(json.dumps(made_up.gpu_result()))
    assert readme.PARTS["docs/gpu.md"]["gpu"]() == gpu_table.markdown(made_up.gpu_result())


def test_every_committed_result_is_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def read(path: Path) -> Any:
        seen.add(path)
        return read_json(path)

    for module in (readme, short_tables):
        monkeypatch.setattr(module, "read_json", read)
    for parts in readme.PARTS.values():
        for part in parts.values():
            part()
    assert seen == set(RESULTS.glob("*.json"))


def test_a_device_without_hardware_is_told() -> None:
    facts = {"built": "always", "in_tests": "a CPU", "on_hardware": None, "date": None}
    seen = facts | {"on_hardware": "M1", "date": "2026-01-02"}
    *_, first, second = device_table.markdown({"one": facts, "two": seen}).splitlines()
    assert "not yet" in first
    assert "M1, 2026-01-02" in second
