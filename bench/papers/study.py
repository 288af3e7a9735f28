"""What the studies have in common that are comparisons with a table and a figure of their own."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.arguments import positive_float, positive_int
from bench.report import study_figures
from bench.report.files import write_atomically
from bench.tasks import TASKS
from bench.tasks.task import Budget, Data, Task
from bench.training.comparison import Comparison
from bench.training.runner import run_until_stopped
from bench.training.strategies import Strategy
from impsamp_fast import keep_freed_memory


def add_arguments(parser: argparse.ArgumentParser, seeds: int) -> None:
    """Those that all have; `seeds` is the default."""
    parser.add_argument("task", choices=TASKS)
    parser.add_argument(
        "--seeds", type=positive_int, default=seeds, help=f"runs per strategy ({seeds})"
    )
    parser.add_argument("--pool", type=positive_int, metavar="SAMPLES", help="the first so many")
    parser.add_argument("--threads", type=positive_int, help="of torch, as in compare")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="as in compare")
    parser.add_argument("--out", type=Path, help="where results go (out/TASK-STUDY)")


def add_length(parser: argparse.ArgumentParser) -> None:
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive_int, help="training steps of each run")
    length.add_argument("--seconds", type=positive_float, help="training time of each run")


def task_of(args: argparse.Namespace) -> Task:
    """The task that is named, with torch's threads set and without what pictures need."""
    task = TASKS[args.task]
    if threads := args.threads or task.threads:
        torch.set_num_threads(threads)
    return replace(task, snapshots=(), count_picks=False)


def compare(
    study: str,
    args: argparse.Namespace,
    task: Task,
    data: Data,
    strategies: list[Strategy],
    budget: Budget,
    markdown: Callable[[dict[str, Any]], str],
    **further: Any,
) -> None:
    """Makes the runs that are missing, prints and writes the table, draws the figure.

    `further` is of the Comparison.
    """
    comparison = Comparison(
        task=task,
        strategies=strategies,
        seeds=args.seeds,
        budget=budget,
        start=task.start,
        out=args.out or Path("out") / f"{task.name}-{study}",
        pool=args.pool,
        keeps_memory=keep_freed_memory(),
        study=study,
        **further,
    )
    results = run_until_stopped(comparison, data)
    show(results, comparison.out, markdown)


def show(results: dict[str, Any], out: Path, markdown: Callable[[dict[str, Any]], str]) -> None:
    """Prints and writes the table of a study, and draws its figure."""
    text = markdown(results)
    print(text)
    table = out / "table.md"
    write_atomically(table, lambda partial: partial.write_text(text))
    figure = study_figures.draw(results, out / f"{results['settings']['study']}.png")
    print(f"{table}\n{out / 'results.json'}\n{figure}")
