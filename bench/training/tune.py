"""`python -m bench tune`: each strategy's learning rate, the best of one grid.

Neither the seeds of tables nor the test set take part in the choice: seeds begin at TUNING_SEEDS,
and accuracies are those on samples that are held out of the training set.

OUT/RATE/        the comparison of all strategies at a rate, see bench.training.runner
OUT/rates.json   the best rate of each strategy, how it was found, and what all rates reached
"""

import argparse
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench.arguments import positive_float, positive_int, share
from bench.report.files import read_json, write_json
from bench.report.results import final_accuracy, first_reaching, runs_of
from bench.report.table import table
from bench.tasks.task import Task
from bench.training.arguments import add_training_arguments, comparison_of
from bench.training.comparison import TUNING_SEEDS
from bench.training.runner import run_until_stopped

VALIDATION = 5_000  # samples held out, at most a tenth of them
GRID = (0.25, 0.5, 1.0, 2.0)  # times the task's learning rate
EVALUATIONS = 20  # of a run, where only the last ones count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)
    parser.add_argument(
        "--seeds",
        type=positive_int,
        default=3,
        help=f"runs a rate, from seed {TUNING_SEEDS} on (3)",
    )
    parser.add_argument(
        "--grid",
        nargs="+",
        type=positive_float,
        default=GRID,
        metavar="FACTOR",
        help=f"of the task's learning rate ({' '.join(f'{factor:g}' for factor in GRID)})",
    )
    parser.add_argument("--absolute", action="store_true", help="the grid is one of rates itself")
    parser.add_argument(
        "--target",
        type=share,
        metavar="ACCURACY",
        help="choose by the median time to it, not by the accuracy at the end",
    )
    parser.add_argument("--out", type=Path, help="where results go (out/TASK-rates)")


def run(args: argparse.Namespace) -> None:
    out = args.out or Path("out") / f"{args.task}-rates"
    comparison = comparison_of(args)
    task = comparison.task
    evaluations = EVALUATIONS if args.target is None else task.evaluations
    unit = 1.0 if args.absolute else task.learning_rate
    comparison = replace(
        comparison,
        task=replace(task, count_picks=False, snapshots=(), evaluations=evaluations),
        first_seed=TUNING_SEEDS,
        targets=() if args.target is None else (args.target,),
    )
    data = task.load(args.data_root)
    data = data.with_validation(min(VALIDATION, len(data.y) // 10))
    by_rate = {}
    for rate in sorted({float(f"{factor * unit:.6g}") for factor in args.grid}):
        print(f"learning rate {rate:g}")
        rates = {strategy.name: rate for strategy in comparison.strategies}
        at_rate = replace(comparison, out=out / f"{rate:g}", rates=rates)
        by_rate[rate] = run_until_stopped(at_rate, data)
    tuning = choose(by_rate, args.target) | {"held_out": len(data.test_y)}
    write_json(out / "rates.json", tuning)
    print(f"{markdown(tuning)}\n{out / 'rates.json'}")


def choose(by_rate: dict[float, dict[str, Any]], goal: float | None) -> dict[str, Any]:
    """The best rate of each strategy, from the results of a comparison at each rate.

    The best one has the shortest median time to the goal, if there is one. Without one, or where no
    rate has a median time to it, it has the highest mean accuracy at the end; of equals, the
    smallest is taken.
    """
    grid, first = sorted(by_rate), next(iter(by_rate.values()))
    scores = {
        name: {
            "accuracy": [mean_accuracy(by_rate[rate], name) for rate in grid],
            "seconds_to_target": [median_time(by_rate[rate], name, goal) for rate in grid],
        }
        for name in first["strategies"]
    }

    def rank(name: str, i: int) -> tuple[float, float]:
        seconds = scores[name]["seconds_to_target"][i]
        return math.inf if seconds is None else seconds, -scores[name]["accuracy"][i]

    best = {name: min(range(len(grid)), key=lambda i: rank(name, i)) for name in scores}
    return {
        "format": 1,
        "machine": first["machine"],
        "commits": list(dict.fromkeys(c for r in by_rate.values() for c in r["commits"])),
        "settings": first["settings"],
        "seeds": first["seeds"],
        "grid": grid,
        "target": goal,
        "criterion": "the highest mean accuracy at the end"
        if goal is None
        else f"the shortest median time to {100 * goal:.2f}%",
        "rates": {name: grid[i] for name, i in best.items()},
        "at_an_end": [name for name, i in best.items() if i in (0, len(grid) - 1)],
        "scores": scores,
    }


def mean_accuracy(results: dict[str, Any], name: str) -> float:
    return fmean(final_accuracy(run) for run in runs_of(results, name))


def median_time(results: dict[str, Any], name: str, goal: float | None) -> float | None:
    """Seconds to the goal; None without one, or if the median run does not reach it."""
    if goal is None:
        return None
    hits = [first_reaching(run, goal) for run in runs_of(results, name)]
    seconds = median(math.inf if hit is None else hit[1] for hit in hits)
    return None if seconds == math.inf else seconds


def markdown(tuning: dict[str, Any]) -> str:
    """What each strategy reached at each rate, the best one in bold."""
    rows = []
    for name, score in tuning["scores"].items():
        cells = [
            f"{100 * accuracy:.2f}%" + ("" if seconds is None else f", {seconds:.2f} s")
            for accuracy, seconds in zip(score["accuracy"], score["seconds_to_target"], strict=True)
        ]
        best = tuning["grid"].index(tuning["rates"][name])
        cells[best] = f"**{cells[best]}**"
        rows.append([name, *cells])
    headings = ["strategy", *(f"{rate:g}" for rate in tuning["grid"])]
    told = [f"Learning rates, the best ones by {tuning['criterion']}:", "", *table(headings, rows)]
    if tuning["at_an_end"]:
        told += ["", f"At an end of the grid: {', '.join(tuning['at_an_end'])}."]
    return "\n".join(told) + "\n"


def tuned(path: Path, task: Task, names: Iterable[str]) -> dict[str, Any]:
    """What `tune` wrote, or SystemExit where it is of another task or lacks a strategy's rate."""
    tuning: dict[str, Any] = read_json(path)
    if (other := tuning["settings"]["task"]) != task.name:
        raise SystemExit(f"{path} has the learning rates of {other}, not of {task.name}")
    if missing := [name for name in names if name not in tuning["rates"]]:
        raise SystemExit(f"{path} has no learning rate of {', '.join(missing)}")
    return tuning
