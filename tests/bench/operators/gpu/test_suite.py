"""The command of a GPU's measurements: parts that fail or take too long, and no GPU."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import impsamp_fast
from bench.__main__ import main
from bench.operators.gpu import suite
from bench.report import (
    gpu_table,
)
from tests.bench import made_up


def run_with_parts(
    outcomes: dict[str, dict[str, Any]], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command, its parts made up."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(impsamp_fast, "build_info", lambda: {"cuda": {"version": "13.0"}})
    monkeypatch.setattr(suite, "describe", lambda: made_up.gpu_result()["machine"])
    monkeypatch.setattr(suite.machine, "commit", lambda: made_up.gpu_result()["commit"])
    monkeypatch.setattr(suite, "run_part", lambda name, limit: outcomes[name])
    main(["gpu", "--out", str(out), "--parts", *outcomes])


def test_the_command_writes_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, expected = tmp_path / "gpu.json", made_up.gpu_result()
    run_with_parts(expected["parts"], out, monkeypatch)
    assert json.loads(out.read_text()) == expected
    assert gpu_table.markdown(expected) in capsys.readouterr().out


def test_a_failing_part_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, parts = tmp_path / "gpu.json", made_up.gpu_result()["parts"]
    parts = {"correctness": {"seconds": 3.0, "error": "RuntimeError: broken"}} | {
        name: part for name, part in parts.items() if name != "correctness"
    }
    with pytest.raises(SystemExit) as stopped:
        run_with_parts(parts, out, monkeypatch)
    assert stopped.value.code == 1
    written = json.loads(out.read_text())["parts"]
    assert written["correctness"]["error"] == "RuntimeError: broken"
    assert list(written) == list(parts)


def test_a_command_fails_by_its_exit_code_or_by_its_time(tmp_path: Path) -> None:
    def run(code: str, limit: float) -> str | None:
        return suite.failure_of([sys.executable, "-c", code], limit, tmp_path / "log")

    assert run("pass", 60) is None
    assert run("raise SystemExit('no kernel image')", 60) == "no kernel image"
    assert run("import os; os._exit(3)", 60) == "exit code 3"
    # A process of its own may have started others, which hold on to what it printed to.
    sleeper = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    assert run(sleeper.replace("input()", "import time; time.sleep(60)"), 0.5) == "not done in 0 s"


def test_no_time_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    part = suite.run_part("draw", -1.0)
    assert part == {"seconds": 0.0, "error": f"not run: {suite.BUDGET_SECONDS} s were spent"}


def test_without_a_gpu_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA device"):
        suite.main(tmp_path / "gpu.json")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(impsamp_fast, "build_info", lambda: {"cuda": None})
    with pytest.raises(SystemExit, match="built without CUDA"):
        suite.main(tmp_path / "gpu.json")
    assert not (tmp_path / "gpu.json").exists()
