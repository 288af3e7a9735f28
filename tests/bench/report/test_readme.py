"""The parts of README.md that are written by `python -m bench readme`."""

import json
from pathlib import Path

import pytest

from bench.report import gpu_table, readme
from tests.bench import made_up


def test_readme_parts_are_replaced_between_their_marks() -> None:
    text = "a\n<!-- bench: x -->\nold\n<!-- end of bench: x -->\nb\n"
    assert readme.replace_part(text, "x", "new\n") == text.replace("old", "new")
    with pytest.raises(SystemExit, match="has 0 parts <!-- bench: y -->"):
        readme.replace_part(text, "y", "new\n")


def test_a_part_shows_the_committed_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    (tmp_path / "gpu.json").write_text(json.dumps(made_up.gpu_result()))
    assert readme.PARTS["README.md"]["gpu"]() == gpu_table.markdown(made_up.gpu_result())
