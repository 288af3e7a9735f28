"""Where importance sampling pays and where it does not: all comparisons of bench/results.

`python -m bench verdict`. Each choice of rows is judged against uniform sampling, and against the
strongest of what its comparison has without such a choice.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.files import RESULTS, read_json
from bench.report.paper_tables import share_cells
from bench.report.results import (
    ROW_LOOP,
    Share,
    first_reaching,
    highest_accuracy,
    is_baseline,
    number_of_seeds,
    runs_of,
    share_of,
    share_of_uniform,
    task_title,
)
from bench.report.table import table

VERDICTS = ("better", "no difference", "worse", "too few seeds")


@dataclass(frozen=True)
class Row:
    """A strategy of a comparison; shares are None where nothing is to be compared."""

    name: str
    label: str
    by_default: bool  # whether nothing was done to make it faster
    time: Share | None
    time_over_strongest: Share | None
    steps: Share | None


@dataclass(frozen=True)
class Judged:
    """A comparison: what chooses rows, the best first, and what does not."""

    title: str
    strongest: Row  # of the baselines
    baselines: list[Row]
    choices: list[Row]

    @property
    def has_uniform_alone(self) -> bool:
        return len(self.baselines) == 1


def comparisons() -> list[dict[str, Any]]:
    """Those of bench/results that can be judged."""
    paths = sorted(RESULTS.glob("*.json"), key=lambda path: path.stem)
    return [result for result in map(read_json, paths) if can_be_judged(result)]


def can_be_judged(result: dict[str, Any]) -> bool:
    """Whether it has choices of rows beside uniform sampling; studies have pages."""
    if not result.get("runs") or result["settings"].get("study"):
        return False
    names = judged_names(result)
    return "uniform" in names and not all(map(is_baseline, names))


def judged_names(results: dict[str, Any]) -> list[str]:
    """Every strategy but the row-by-row loop, whose runs are cut short."""
    return [name for name in results["strategies"] if name != ROW_LOOP]


def judge(results: dict[str, Any]) -> Judged:
    names = judged_names(results)
    goal = goal_of(results)
    times = {name: share_of_uniform(results, name, goal) for name in names}
    strongest = min(filter(is_baseline, names), key=lambda name: median_of(times[name]))

    def row(name: str) -> Row:
        strategy = results["strategies"][name]
        return Row(
            name,
            strategy["label"],
            by_default(strategy),
            times[name],
            None if name == strongest else share_of(results, name, strongest, goal),
            share_of_uniform(results, name, goal, "step"),
        )

    rows = sorted(map(row, names), key=lambda row: median_of(row.time))
    return Judged(
        title_of(results),
        next(row for row in rows if row.name == strongest),
        [row for row in rows if is_baseline(row.name)],
        [row for row in rows if not is_baseline(row.name)],
    )


def goal_of(results: dict[str, Any]) -> float:
    """The comparison's target; with wrong labels the best that uniform sampling has with each seed.

    There it falls from then on, and most of what it has at its end it had before anything chose.
    """
    if not results["settings"].get("wrong_labels"):
        return float(results["target"])
    return min(map(highest_accuracy, runs_of(results, "uniform")))


def median_of(share: Share | None) -> float:
    """1 for uniform sampling itself."""
    return 1.0 if share is None else share.median


def by_default(strategy: dict[str, Any]) -> bool:
    """Whether it scores as it is made by default, and trains as uniform sampling does."""
    made = strategy.get("made", {})
    scoring = made.get("scoring") or {}
    faster = (
        any(value for name, value in scoring.items() if name != "type")
        or made.get("batches_per_pool", 1) > 1
    )
    return not faster and not any(strategy.get("recipe", {}).values())


def title_of(results: dict[str, Any]) -> str:
    settings = results["settings"]
    title = f"{task_title(results)}, {settings['pool']:,} samples"
    if share := settings.get("wrong_labels"):
        title += f", {100 * share:g}% of their labels wrong"
    title += ", compiled for all" * bool(settings.get("compiled"))
    return title + ", tuned rates" * bool(results.get("tuning"))


def markdown(results: list[dict[str, Any]]) -> str:
    """Who gains and who loses, and a table of each comparison from its best to its weakest."""
    judged = [judge(result) for result in results]
    lines = [
        f"Better by time than the strongest baseline: {named(judged, 'better')}.",
        "",
        f"Worse: {named(judged, 'worse')}.",
        "",
        *(line for result in results for line in section(result)),
    ]
    return "\n".join(lines[:-1]) + "\n"


def named(judged: list[Judged], verdict: str) -> str:
    """The choices of rows that are so by time against their strongest baseline."""
    told = []
    for each in judged:
        labels = [
            row.label
            for row in each.choices
            if (share := row.time_over_strongest) and share.verdict == verdict
        ]
        if labels:
            alone = ", uniform alone" * each.has_uniform_alone
            told.append(f"{'; '.join(labels)} (**{each.title}**{alone})")
    return "; ".join(told) or "none"


def section(result: dict[str, Any]) -> list[str]:
    judged = judge(result)
    alone = judged.strongest.name == "uniform"
    over_strongest = [f"over the time of {judged.strongest.label}", "which is"]
    headings = [
        "strategy",
        "over uniform's time",
        "which is",
        *([] if alone else over_strongest),
        "over uniform's steps",
        "which is",
    ]
    counts = f"Over uniform's time: {counted(row.time for row in judged.choices)}"
    if not alone:
        over = counted(row.time_over_strongest for row in judged.choices)
        counts += f"; {over_strongest[0]}: {over}"
    return [
        f"**{judged.title}**: {number_of_seeds(result)}, target {100 * goal_of(result):.2f}%"
        f"{of_seeds(result)}; {strongest(judged)}.",
        "",
        *table(headings, [cells(row, alone) for row in judged.choices + judged.baselines]),
        "",
        f"{counts}; over uniform's steps: {counted(row.steps for row in judged.choices)}.",
        "",
    ]


def of_seeds(result: dict[str, Any]) -> str:
    """With how many seeds uniform sampling reaches the target, where it does not with all."""
    goal, runs = goal_of(result), runs_of(result, "uniform")
    reached = sum(first_reaching(run, goal) is not None for run in runs)
    return "" if reached == len(runs) else f", which uniform reaches with {reached} of them"


def cells(row: Row, alone: bool) -> list[str]:
    over_strongest = [] if alone else share_cells(row.time_over_strongest)
    label = f"*{row.label}*" if is_baseline(row.name) else row.label
    return [label, *share_cells(row.time), *over_strongest, *share_cells(row.steps)]


def strongest(judged: Judged) -> str:
    if judged.has_uniform_alone:
        return "no other baseline was measured"
    return f"the strongest of {len(judged.baselines)} baselines is {judged.strongest.label}"


def counted(shares: Iterable[Share | None]) -> str:
    """How many of the choices are better, how many are not."""
    found = Counter("nothing to compare" if share is None else share.verdict for share in shares)
    words = (*VERDICTS, "nothing to compare")
    return f"{', '.join(f'{found[word]} {word}' for word in words if found[word])}"


def short(results: list[dict[str, Any]]) -> str:
    """The best and the weakest choices of each comparison, and how many pay in all."""
    everything = [judge(result) for result in results]
    rows = [cells for judged in everything for cells in short_rows(judged)]
    headings = [
        "training",
        "which of its strategies",
        "strategy",
        "over uniform's time",
        "which is",
        "strongest baseline",
        "over its time",
        "which is",
    ]
    choices = [row for judged in everything for row in judged.choices]
    alone = sum(judged.has_uniform_alone for judged in everything)
    lines = [
        f"Of {len(choices)} strategies that choose rows, by time against uniform sampling: "
        f"{counted(row.time for row in choices)}. Against the strongest baseline (in {alone} of "
        f"{len(everything)} trainings uniform alone was measured): "
        f"{counted(row.time_over_strongest for row in choices)}. By steps against uniform "
        f"sampling: {counted(row.steps for row in choices)}.",
        "",
        *table(headings, rows),
    ]
    return "\n".join(lines) + "\n"


def short_rows(judged: Judged) -> list[list[str]]:
    """At most three rows."""
    chosen = {
        "best by default settings": next((row for row in judged.choices if row.by_default), None),
        "best": judged.choices[0],
        "weakest": judged.choices[-1],
    }
    by_row: dict[str, list[str]] = {}
    for what, row in chosen.items():
        if row is not None:
            by_row.setdefault(row.name, []).append(what)
    rows = {row.name: row for row in judged.choices}
    return [
        [
            judged.title,
            ", ".join(what),
            rows[name].label,
            *share_cells(rows[name].time),
            "uniform alone" if judged.has_uniform_alone else judged.strongest.label,
            *share_cells(rows[name].time_over_strongest),
        ]
        for name, what in by_row.items()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        nargs="*",
        type=Path,
        help="results.json of comparisons (those of bench/results)",
    )


def run(args: argparse.Namespace) -> None:
    for path in args.results:
        if not path.is_file():
            raise SystemExit(f"{path} is no file: run `python -m bench compare` first")
    given = {path: read_json(path) for path in args.results}
    for path, result in given.items():
        if not can_be_judged(result):
            raise SystemExit(f"{path} is not a comparison of choices of rows with uniform sampling")
    results = [*given.values()] or comparisons()
    print(f"{short(results)}\n{markdown(results)}")
