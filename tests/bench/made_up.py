"""Results made up, with numbers that can be worked out by hand."""

from typing import Any

from bench.operators.gpu.parts import COPY


def paper_results() -> dict[str, Any]:
    """Two seeds of two strategies; 8 evaluations, one every 10 steps."""

    def run(strategy: str, seed: int, second: float, accuracy: list[float]) -> dict[str, Any]:
        split = {"forward": 1.0, "select": 2.0, "gather": 3.0, "train": 4.0, "other": 0.0}
        return {
            "strategy": strategy,
            "seed": seed,
            "importance_steps": 40,
            "split_us": split | {"step": 10.0},
            "curve": {
                "step": [10 * i for i in range(1, 9)],
                "seconds": [second * i for i in range(1, 9)],
                "accuracy": accuracy,
                "loss": [0.5] * 8,
            },
        }

    late = [0.5, 0.5, 0.5, 0.5, 0.5, 0.72, 0.76, 0.80]  # the last three: 0.76
    early = [0.5, 0.6, 0.7, 0.7, 0.8, 0.9, 0.9, 0.9]  # of three: 0.6, 0.67, 0.73, 0.8, 0.87, 0.9
    lucky = [0.9, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]  # above the target once, never for a window
    return {
        "format": 2,
        "machine": {
            "cpu": "a processor",
            "cores": 2,
            "threads": 2,
            "instruction_set": "AVX2",
            "torch": "2.13.0",
            "python": "3.12",
        },
        "settings": {
            "task": "two-circles",
            "large_batch": 1024,
            "mini_batch": 128,
            "start": "always",
            "learning_rate": 0.005,
            "budget": {"steps": 3000, "seconds": None},
            "pool": 1000,
        },
        "seeds": [0, 1],
        "strategies": {
            "uniform": {"label": "uniform", "correction": "none", "start": None},
            "kf18": {"label": "good", "correction": "unbiased", "start": "variance:1.5"},
            "highest-loss": {"label": "bad", "correction": "none", "start": "always"},
        },
        "runs": [
            run("uniform", 0, 1.0, late),
            run("uniform", 1, 3.0, [a - 0.02 for a in late]),
            run("kf18", 0, 1.0, early),
            run("kf18", 1, 2.0, early),
            run("highest-loss", 0, 1.0, early),
            run("highest-loss", 1, 1.0, lucky),
        ],
    }


def tuning(results: dict[str, Any]) -> dict[str, Any]:
    """Learning rates of the same training, chosen from two."""
    return {
        "settings": results["settings"],
        "machine": results["machine"],
        "seeds": [1000, 1001, 1002],
        "grid": [0.005, 0.01],
        "criterion": "the shortest median time to 75.00%",
        "target": 0.75,
        "rates": {"kf18": 0.01},
        "at_an_end": ["kf18"],
        "held_out": 5000,
    }


def gpu_result() -> dict[str, Any]:
    def time(median: float) -> dict[str, float]:
        return {"median": median, "low": median, "high": median}

    case = {
        "name": "select, K=1024",
        "microseconds": {"impsamp_fast": time(5.0), "plain torch": time(60.0)},
        "missing": {"torch.compile": "no compiler"},
    }
    wide = {
        "name": "row_stats, 8192 x 128256",
        "microseconds": {"impsamp_fast": time(1000.0), COPY: time(900.0)},
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
        "commit": 40 * "a",
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


def curves_result() -> dict[str, Any]:
    times = {"impsamp_fast": 10.0, "plain torch": 50.0, "torch.compile": 30.0}
    point = {
        "K": 1000,
        "C": 10,
        "bytes": 20_000,
        "microseconds": {name: {"median": median} for name, median in times.items()},
        "missing": {},
    }
    sweep = {
        "job": "row_stats",
        "axis": "C",
        "dtype": "bfloat16",
        "read_bandwidth": 10e9,
        "points": [point],
    }
    return {
        "machine": paper_results()["machine"],
        "commit": None,
        "versions": {"opacus": "1.6.0", "torchrl": None},
        "sweeps": [sweep],
    }
