"""The table for wrong labels, from results made up."""

from typing import Any

from bench.report import wrong_labels_table
from bench.report.machine import describe


def run(strategy: str, seed: int, accuracy: list[float]) -> dict[str, Any]:
    steps = [20 * (i + 1) for i in range(len(accuracy))]
    return {"strategy": strategy, "seed": seed, "curve": {"step": steps, "accuracy": accuracy}}


def test_the_table_agrees_with_numbers_worked_out_by_hand() -> None:
    results = {
        "machine": describe(),
        "settings": {
            "task": "mnist",
            "large_batch": 64,
            "mini_batch": 16,
            "pool": 2000,
            "wrong_labels": 0.4,
            "budget": {"steps": 100, "seconds": None},
        },
        "seeds": [0, 1],
        "strategies": {
            "uniform": {"label": "uniform", "start": None, "learning_rate": 0.001},
            "rho-loss": {"label": "rho-loss", "start": "after:9", "learning_rate": 0.01},
        },
        "runs": [
            run("uniform", 0, [0.2, 0.9, 0.7, 0.8, 0.3]),  # smoothed at most 0.8, 0.6 at the end
            run("uniform", 1, [0.9, 0.3, 0.6, 0.6, 0.6]),  # the first one is not a mean of three
            run("rho-loss", 0, [0.5, 0.7, 0.9, 0.9, 0.9]),
            run("rho-loss", 1, [0.5, 0.7, 0.9, 0.9, 0.9]),
        ],
    }
    lines = wrong_labels_table.markdown(results).splitlines()
    assert lines[0] == (
        "mnist, 2,000 training samples, 40% of their labels wrong; accuracy on the test set, whose "
        "labels are right: mean of 2 seeds, 100 steps, K = 64, n = 16."
    )
    assert lines[2] == "Learning rates: uniform 0.001, rho-loss 0.01."
    results["settings"]["budget"] = {"steps": None, "seconds": 7.0}
    timed = wrong_labels_table.markdown(results).splitlines()[0]
    assert "mean of 2 seeds, 7 s of training each, K = 64" in timed
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[6:8]]
    assert rows == [
        ["uniform", "-", "0.001", "70.0% ± 14.1", "60.0% ± 0.0", "10.0"],
        ["rho-loss", "after:9", "0.01", "90.0% ± 0.0", "90.0% ± 0.0", "0.0"],
    ]
