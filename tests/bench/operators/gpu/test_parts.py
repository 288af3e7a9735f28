"""What is measured on a GPU, as far as no GPU is needed, and all of it where there is one."""

import json

import pytest
import torch

import impsamp_fast
from bench.operators.gpu import checks, parts
from bench.operators.gpu.scale import Scale
from bench.operators.gpu.timing import Timer
from bench.operators.peers import by_compiler
from bench.report import gpu_table
from tests.bench import made_up

CPU = torch.device("cpu")
TINY = Scale(
    Timer(CPU, turn_seconds=1e-5, turns=3),
    large=64,
    wide=(8, 300),
    copied=2**16,
    draws=(256, 1024),
    drawn=100,
    steps=3,
)
NEEDS_GRAPHS = {"select_graph"}
ON_CUDA = {"Liger", "QuACK"}  # where they are installed


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_compiler, "compiled", lambda function, *_: function)


@pytest.mark.parametrize("name", sorted(set(parts.PARTS) - NEEDS_GRAPHS - {"correctness"}))
def test_a_part_gives_what_the_table_shows(name: str) -> None:
    part = parts.PARTS[name].run(TINY)
    assert json.loads(json.dumps(part)) == part
    for case in part.get("cases", []):
        assert set(case["missing"]) <= ON_CUDA
        assert len(case["microseconds"]) >= 2
        for times in case["microseconds"].values():
            assert 0 < times["low"] <= times["median"] <= times["high"]
    result = made_up.gpu_result() | {"parts": {name: {"error": None, "seconds": 1.0, **part}}}
    table = gpu_table.markdown(result)
    for case in part.get("cases", []):
        assert f"| {case['name']} " in table


def test_a_compiler_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(by_compiler, "compiled", fails)
    (case, *_) = parts.select_eager(TINY)["cases"]
    assert case["missing"] == {"torch.compile": "no compiler"}
    assert list(case["microseconds"]) == ["impsamp_fast", "plain torch"]


def test_the_formula_is_that_of_the_operator() -> None:
    logits, target = checks.inputs(50, 20, CPU)
    loss, norm = parts.formula(logits, target)
    stats = impsamp_fast.row_stats(logits, target)
    torch.testing.assert_close(loss, stats.loss)
    torch.testing.assert_close(norm, stats.grad_norm, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.parametrize("name", parts.PARTS)
def test_every_part_runs_on_a_gpu(name: str, cuda: torch.device) -> None:
    scale = Scale(
        Timer(cuda, turn_seconds=1e-3, turns=3),
        wide=(64, 3000),
        copied=2**20,
        draws=(2**16,),
        steps=20,
    )
    part = parts.PARTS[name].run(scale)
    assert all(len(case["microseconds"]) >= 2 for case in part.get("cases", []))
    assert all(check["ok"] for check in part.get("checks", []))
    assert all(number == 0 for number in part.get("synchronisations", {}).values())
