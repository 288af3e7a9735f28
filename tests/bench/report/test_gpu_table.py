"""The table of a GPU's measurements, from results made up."""

from bench.operators.gpu import parts
from bench.report import gpu_table
from tests.bench import made_up


def test_the_table_divides_medians() -> None:
    lines = gpu_table.markdown(made_up.gpu_result()).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:4]]
    assert rows[0] == ["select, K=1024", "5.0 µs", "plain torch", "60.0 µs", "12.00"]
    assert rows[1] == ["row_stats, 8192 x 128256", "1.00 ms", parts.COPY, "900.0 µs", "0.90"]
    assert "Device synchronisations in 64 training steps: Selector 0, GraphStep 0." in lines
    assert "Checked first: 1 of 1 comparisons held." in lines
    assert "A device copy reads and writes 3.90 TB/s." in lines
    assert lines[-1].startswith("Measured on a GPU, driver 600.1, CUDA 13.2, a CPU")


def test_a_step_in_a_graph_is_beside_a_uniform_one_in_a_graph() -> None:
    result = made_up.gpu_result()
    times = {"in one graph": 50.0, "uniform in one graph": 40.0}
    cases = [
        {"name": f"step, {name}", "microseconds": {"impsamp_fast": {"median": median}}}
        for name, median in times.items()
    ]
    result["parts"] = {"steps": {"cases": cases}}
    by_importance, uniform = gpu_table.cases_of(result)
    assert gpu_table.rows_of(by_importance) == [
        ["step, in one graph", "50.0 µs", "uniform in one graph", "40.0 µs", "0.80"]
    ]
    assert gpu_table.rows_of(uniform) == [["step, uniform in one graph", "40.0 µs", "-", "-", "-"]]


def test_what_went_wrong_is_told() -> None:
    result = made_up.gpu_result()
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
