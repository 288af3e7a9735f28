"""bench/gpu.py as far as no GPU is needed: its parts on the CPU, its table, and parts that fail."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import impsamp_fast
from bench.__main__ import main
from bench.operators import peers
from bench.operators.gpu import checks as gpu_checks
from bench.operators.gpu import parts as gpu_parts
from bench.operators.gpu import suite as gpu
from bench.operators.gpu.timing import Timer, failure_of, rotating, usable
from bench.report import gpu_table, readme

CPU = torch.device("cpu")
TINY = gpu_parts.Scale(
    Timer(CPU, turn_seconds=1e-5, turns=3),
    large=64,
    wide=(8, 300),
    copied=2**16,
    draws=(256, 1024),
    drawn=100,
    steps=3,
)
NEEDS_GRAPHS = {"select_graph"}


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "compiled", lambda function, *_: function)


@pytest.mark.parametrize("name", sorted(set(gpu_parts.PARTS) - NEEDS_GRAPHS - {"correctness"}))
def test_a_part_gives_what_the_table_shows(name: str) -> None:
    part = gpu_parts.PARTS[name].run(TINY)
    assert json.loads(json.dumps(part)) == part
    for case in part.get("cases", []):
        assert case["missing"] == {}
        assert len(case["microseconds"]) >= 2
        for times in case["microseconds"].values():
            assert 0 < times["low"] <= times["median"] <= times["high"]
    result = made_up_result() | {"parts": {name: {"error": None, "seconds": 1.0, **part}}}
    table = gpu_table.markdown(result)
    for case in part.get("cases", []):
        assert f"| {case['name']} " in table


def test_a_compiler_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "compiled", lambda *_: None)
    (case, *_) = gpu_parts.select_eager(TINY)["cases"]
    assert case["missing"] == {"torch.compile": "torch.compile does not work here"}
    assert list(case["microseconds"]) == ["impsamp_fast", "plain torch"]


def test_the_checks_hold_on_the_cpu() -> None:
    rows = [(100, 3, torch.float32), (100, 300, torch.bfloat16)]
    checks = gpu_checks.run(CPU, rows, [100, 3000])["checks"]
    assert len(checks) == 2 + 2 * (6 + 2)
    assert all(check["ok"] for check in checks), checks


def test_a_check_notices_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not gpu_checks.verdict("x", float("nan"), 1.0)["ok"]
    truth = torch.ones(3).double()
    assert gpu_checks.relative_error(torch.tensor([1.0, float("nan"), 1.0]), truth) == torch.inf
    assert gpu_checks.relative_error(torch.tensor([1.0, 1.0, 1.5]), truth) == 0.5
    right = impsamp_fast.row_stats

    def wrong(*arguments: Any) -> impsamp_fast.RowStats:
        stats = right(*arguments)
        return stats._replace(loss=stats.loss * 1.00001)

    monkeypatch.setattr(impsamp_fast, "row_stats", wrong)
    assert not gpu_checks.row_check(50, 3, torch.float32, CPU)["ok"]


def test_the_formula_is_that_of_the_operator() -> None:
    logits, target = gpu_checks.inputs(50, 20, CPU)
    loss, norm = gpu_parts.formula(logits, target)
    stats = impsamp_fast.row_stats(logits, target)
    torch.testing.assert_close(loss, stats.loss)
    torch.testing.assert_close(norm, stats.grad_norm, rtol=1e-4, atol=1e-5)


def test_inputs_take_turns() -> None:
    seen: list[int] = []
    function = rotating(seen.append, [(1,), (2,), (3,)])
    for _ in range(5):
        function()
    assert seen == [1, 2, 3, 1, 2]


def test_a_peer_that_fails_is_a_peer_less() -> None:
    def fails() -> None:
        raise RuntimeError("not here\nand a trace")

    works, missing = usable({"a": fails, "b": lambda: 1})
    assert list(works) == ["b"]
    assert missing == {"a": "not here"}
    assert failure_of(lambda: [][1]) == "list index out of range"


def made_up_result() -> dict[str, Any]:
    def time(median: float) -> dict[str, float]:
        return {"median": median, "low": median, "high": median}

    case = {
        "name": "select, K=1024",
        "microseconds": {"impsamp_fast": time(5.0), "plain torch": time(60.0)},
        "missing": {"torch.compile": "no compiler"},
    }
    wide = {
        "name": "row_stats, 8192 x 128256",
        "microseconds": {"impsamp_fast": time(1000.0), gpu_parts.COPY: time(900.0)},
        "missing": {},
    }
    good = {"what": "draw", "found": 0, "allowed": 0, "ok": True}
    machine = {
        "cpu": "a CPU",
        "cores": 2,
        "threads": 2,
        "instruction_set": "AVX2",
        "torch": "2.15.0",
        "python": "3.11",
        "gpu": "a GPU",
        "driver": "600.1",
        "cuda": "13.2",
    }
    return {
        "format": 1,
        "machine": machine,
        "parts": {
            "correctness": {"seconds": 1.0, "error": None, "checks": [good]},
            "select_eager": {"seconds": 1.0, "error": None, "cases": [case]},
            "wide": {"seconds": 1.0, "error": None, "cases": [wide], "copy_bandwidth": 3.9e12},
            "synchronisations": {
                "seconds": 1.0,
                "error": None,
                "steps": 64,
                "synchronisations": {"Selector": 0, "GraphStep": 0},
            },
        },
    }


def test_the_table_divides_medians() -> None:
    lines = gpu_table.markdown(made_up_result()).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:4]]
    assert rows[0] == ["select, K=1024", "5.0 µs", "plain torch", "60.0 µs", "12.00"]
    assert rows[1] == ["row_stats, 8192 x 128256", "1.00 ms", gpu_parts.COPY, "900.0 µs", "0.90"]
    assert "Device synchronisations in 64 training steps: Selector 0, GraphStep 0." in lines
    assert "Checked first: 1 of 1 comparisons held." in lines
    assert "A device copy reads and writes 3.90 TB/s." in lines
    assert lines[-1].startswith("Measured on a GPU, driver 600.1, CUDA 13.2, a CPU")


def test_what_went_wrong_is_told() -> None:
    result = made_up_result()
    assert gpu_table.problems(result) == []
    result["parts"]["draw"] = {"seconds": 60.0, "error": "Traceback\nRuntimeError: no memory"}
    bad = {"what": "row_stats: relative error", "found": 0.5, "allowed": 2e-6, "ok": False}
    result["parts"]["correctness"]["checks"].append(bad)
    told = [
        "draw failed: RuntimeError: no memory",
        "row_stats: relative error is 0.5, at most 2e-06 is right",
    ]
    assert gpu_table.problems(result) == told
    assert all(f"- {line}" in gpu_table.markdown(result) for line in told)


def test_the_readme_says_that_nothing_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    assert readme.PARTS["gpu"]() == readme.GPU_NOT_MEASURED
    (tmp_path / "gpu.json").write_text(json.dumps(made_up_result()))
    assert readme.PARTS["gpu"]() == gpu_table.markdown(made_up_result())


def run_with_parts(
    outcomes: dict[str, dict[str, Any]], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command, its parts made up."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(impsamp_fast, "build_info", lambda: {"cuda": {"version": "13.0"}})
    monkeypatch.setattr(gpu, "describe", lambda: made_up_result()["machine"])
    monkeypatch.setattr(gpu, "run_part", lambda name, limit: outcomes[name])
    main(["gpu", "--out", str(out), "--parts", *outcomes])


def test_the_command_writes_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, expected = tmp_path / "gpu.json", made_up_result()
    run_with_parts(expected["parts"], out, monkeypatch)
    assert json.loads(out.read_text()) == expected
    assert gpu_table.markdown(expected) in capsys.readouterr().out


def test_a_failing_part_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, parts = tmp_path / "gpu.json", made_up_result()["parts"]
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
        return gpu.failure_of([sys.executable, "-c", code], limit, tmp_path / "log")

    assert run("pass", 60) is None
    assert run("raise SystemExit('no kernel image')", 60) == "no kernel image"
    assert run("import os; os._exit(3)", 60) == "exit code 3"
    # A process of its own may have started others, which hold on to what it printed to.
    sleeper = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    assert run(sleeper.replace("input()", "import time; time.sleep(60)"), 0.5) == "not done in 0 s"


def test_no_time_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    part = gpu.run_part("draw", -1.0)
    assert part == {"seconds": 0.0, "error": f"not run: {gpu.BUDGET_SECONDS} s were spent"}


def test_without_a_gpu_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA device"):
        gpu.main(tmp_path / "gpu.json")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(impsamp_fast, "build_info", lambda: {"cuda": None})
    with pytest.raises(SystemExit, match="built without CUDA"):
        gpu.main(tmp_path / "gpu.json")
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.cuda
@pytest.mark.parametrize("name", gpu_parts.PARTS)
def test_every_part_runs_on_a_gpu(name: str, cuda: torch.device) -> None:
    scale = gpu_parts.Scale(
        Timer(cuda, turn_seconds=1e-3, turns=3),
        wide=(64, 3000),
        copied=2**20,
        draws=(2**16,),
        steps=20,
    )
    part = gpu_parts.PARTS[name].run(scale)
    assert all(len(case["microseconds"]) >= 2 for case in part.get("cases", []))
    assert all(check["ok"] for check in part.get("checks", []))
    assert all(number == 0 for number in part.get("synchronisations", {}).values())
