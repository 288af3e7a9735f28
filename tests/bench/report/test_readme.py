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


def test_the_readme_says_that_nothing_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    assert readme.PARTS["gpu"]() == readme.GPU_NOT_MEASURED
    (tmp_path / "gpu.json").write_text(json.dumps(made_up.gpu_result()))
    assert readme.PARTS["gpu"]() == gpu_table.markdown(made_up.gpu_result())
