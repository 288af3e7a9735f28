"""What the studies have in common: comparisons with a table and a figure of their own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.report import study_figures
from bench.report.files import write_atomically
from bench.tasks.task import Data
from bench.training.comparison import Comparison
from bench.training.runner import run_until_stopped

Markdown = Callable[[dict[str, Any]], str]


def compare(
    study: str, comparison: Comparison, data: Data, out: Path | None, markdown: Markdown
) -> None:
    """Makes the runs that are missing, then shows the results."""
    task = replace(comparison.task, snapshots=(), count_picks=False)
    out = out or Path("out") / f"{task.name}-{study}"
    comparison = replace(comparison, task=task, out=out, study=study)
    show(run_until_stopped(comparison, data), out, markdown)


def show(results: dict[str, Any], out: Path, markdown: Markdown) -> None:
    """Prints and writes the table of a study, and draws its figure."""
    text = markdown(results)
    print(text)
    table = out / "table.md"
    write_atomically(table, lambda partial: partial.write_text(text))
    figure = study_figures.draw(results, out / f"{results['settings']['study']}.png")
    print(f"{table}\n{out / 'results.json'}\n{figure}")
