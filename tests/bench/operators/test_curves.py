"""Operators over sizes: what is swept, and the table and the figure of a result."""

import json
from pathlib import Path

import pytest
import torch

from bench.__main__ import main
from bench.operators import curves, timing
from bench.operators.peers import by_compiler, jobs
from bench.report import curves_table
from bench.report.operator_tables import OURS
from tests.bench import made_up


def test_a_result_has_all_sweeps_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "wait_until_quiet", lambda: None)
    monkeypatch.setattr(timing, "TURN_SECONDS", 1e-5)
    monkeypatch.setattr(by_compiler, "compiled", lambda function, *_: function)
    monkeypatch.setattr(curves, "TURNS", 3)
    monkeypatch.setattr(curves, "BUFFER", 2**10)
    sizes = {"K": (64,), "C": (3,), "n": (8,)}
    held = {"K": 64, "C": 3, "n": 8}
    tiny = [
        curves.Sweep(
            sweep.job,
            sweep.axis,
            sizes[sweep.axis],
            {size: held[size] for size in sweep.held},
            sweep.dtype,
        )
        for sweep in curves.SWEEPS
    ]
    monkeypatch.setattr(curves, "SWEEPS", tiny)
    out = tmp_path / "operators.json"
    main(["curves", "--out", str(out), "--threads", "1"])
    figure = out.with_suffix(".png")
    assert figure.read_bytes().startswith(b"\x89PNG")

    result = json.loads(out.read_text())
    assert set(result) >= {"machine", "commit", "versions"}
    for sweep in result["sweeps"]:
        (point,) = sweep["points"]
        assert {OURS} < set(point["microseconds"])
        size = getattr(torch, sweep["dtype"]).itemsize
        assert point["bytes"] == point["K"] * point.get("C", 1) * size
        assert (point.get("n") == 8) == (sweep["job"] != jobs.ROW_STATS.name)
        assert sweep["read_bandwidth"] > 0

    figure.unlink()
    main(["curves", "--out", str(out), "--draw"])
    assert figure.exists()


def test_the_sizes_of_a_sweep_are_each_held_or_varied() -> None:
    for sweep in curves.SWEEPS:
        needed = {"K"} | ({"C"} if sweep.job in (jobs.ROW_STATS, jobs.SELECT) else set())
        needed |= set() if sweep.job is jobs.ROW_STATS else {"n"}
        for sizes in sweep.points():
            assert set(sizes) == needed
            assert sizes.get("n", 1) <= sizes["K"]


def test_a_point_stands_beside_its_best_peer_and_a_read() -> None:
    row = curves_table.markdown(made_up.curves_result()).splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    name = "row_stats, K=1000, C=10, bfloat16"
    assert cells == [name, "10.0 µs", "torch.compile", "30.0 µs", "3.0", "0.20"]
