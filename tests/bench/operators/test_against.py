"""Two builds in turns: each is timed with its own package, and the table divides their times."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.operators import against, timing

CASE = "select, K=1024, n=128, C=2"
SLOW = """
import time

__version__, _C = "0", None
row_stats = score = draw = None


def select(*arguments):
    time.sleep(0.02)
"""


@pytest.fixture
def one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    every_case = against.cases()
    monkeypatch.setattr(against, "cases", lambda: {CASE: every_case[CASE]})
    monkeypatch.setattr(timing, "wait_until_quiet", lambda: None)
    monkeypatch.setattr(timing, "TURNS", 3)


def tree_with(package: str, folder: Path) -> Path:
    (folder / "impsamp_fast").mkdir()
    (folder / "impsamp_fast" / "__init__.py").write_text(package)
    return folder


@pytest.mark.usefixtures("one_case")
def test_each_build_is_timed_with_its_own_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, out = tree_with(SLOW, tmp_path), tmp_path / "out.json"
    main(["ratios", "--against", str(tree), "--threads", "1", "--out", str(out)])
    (case,) = json.loads(out.read_text())["cases"]
    ours, theirs = case["microseconds"], case["microseconds_against"]
    assert 0 < ours["low"] <= ours["median"] <= ours["high"]
    assert theirs["low"] >= 0.02e6
    assert case["ratio"]["median"] < 0.5
    printed = capsys.readouterr().out
    (row,) = (line for line in printed.splitlines() if line.startswith(f"| {CASE} "))
    *_, ratio, low, high = (cell.strip() for cell in row.strip("|").split("|"))
    assert [ratio, low, high] == [f"{case['ratio'][k]:.3f}" for k in ("median", "low", "high")]


def test_every_case_is_a_call_that_can_be_made() -> None:
    for name, make in against.cases().items():
        if "C=32000" not in name and "K=1048576" not in name:
            make()()


@pytest.mark.usefixtures("one_case")
def test_a_tree_that_cannot_be_timed_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--against is .*, but must be a source tree"):
        main(["ratios", "--against", str(tmp_path)])
    tree = tree_with("raise ImportError('not built')", tmp_path)
    with pytest.raises(SystemExit, match=f"the process with impsamp_fast of {tree} ended"):
        main(["ratios", "--against", str(tree)])
