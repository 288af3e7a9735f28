"""Where importance sampling pays and where it does not: all comparisons of bench/results.

`python -m bench verdict`. Each choice of rows is judged against uniform sampling, and against the
strongest of what its comparison has without such a choice.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.report.files import RESULTS, read_json
from bench.report.paper_tables import share_cells
from bench.report.results import (
    DEFAULT,
    ROW_LOOP,
    OverSeeds,
    Points,
    Share,
    began,
    final_accuracy,
    first_reaching,
    highest_accuracy,
    is_baseline,
    is_long,
    number_of_seeds,
    points_over,
    runs_of,
    share_of,
    share_of_uniform,
    task_title,
)
from bench.report.table import table

WORDS = ("better", "no difference", "worse", "too few seeds", "nothing to compare")
ALONE = "no other measured"  # of baselines
NEVER = " (never began)"


@dataclass(frozen=True)
class Row:
    """A strategy of a comparison; shares are None where nothing is to be compared."""

    name: str
    label: str
    is_default: bool  # what `Selector(model, n)` is
    time: Share | None
    time_over_strongest: Share | None
    steps: Share | None
    points: Points | None  # over the most accurate baseline, at the end


@dataclass(frozen=True)
class Judged:
    """A comparison: what chooses rows, the best first, and what does not."""

    title: str
    task: str
    epochs: float  # that uniform sampling makes
    strongest: Row  # of the baselines
    most_accurate: Row  # of them, at the end
    baselines: list[Row]
    choices: list[Row]

    @property
    def has_uniform_alone(self) -> bool:
        return len(self.baselines) == 1

    @property
    def default(self) -> Row | None:
        """None if it was not measured."""
        return next((row for row in self.choices if row.is_default), None)


def comparisons() -> list[dict[str, Any]]:
    """Those of bench/results that can be judged."""
    paths = sorted(RESULTS.glob("*.json"), key=lambda path: path.stem)
    return [result for result in map(read_json, paths) if can_be_judged(result)]


def latest(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that were made again at tuned learning rates."""
    tuned = {training_of(result) for result in results if result.get("tuning")}
    return [r for r in results if r.get("tuning") or training_of(r) not in tuned]


def training_of(result: dict[str, Any]) -> tuple[Any, ...]:
    """What is trained on which samples, whatever the learning rates are."""
    names = ("task", "source", "pool", "wrong_labels", "compiled")
    settings = result["settings"]
    return (is_long(settings), *(settings.get(name) for name in names))


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
    baselines = list(filter(is_baseline, names))
    strongest = min(baselines, key=lambda name: median_of(times[name]))
    most_accurate = max(baselines, key=lambda name: final_accuracy_of(results, name))

    def row(name: str) -> Row:
        return Row(
            name,
            label_of(results, name),
            name == DEFAULT and results["strategies"][name]["start"] == "always",
            times[name],
            None if name == strongest else share_of(results, name, strongest, goal),
            share_of_uniform(results, name, goal, "step"),
            None if name == most_accurate else Points.of(points_over(results, name, most_accurate)),
        )

    rows = sorted(map(row, names), key=lambda row: median_of(row.time))
    of_name = {row.name: row for row in rows}
    return Judged(
        title_of(results),
        results["settings"]["task"],
        epochs_of(results),
        of_name[strongest],
        of_name[most_accurate],
        [row for row in rows if is_baseline(row.name)],
        [row for row in rows if not is_baseline(row.name)],
    )


def final_accuracy_of(results: dict[str, Any], name: str) -> float:
    return fmean(map(final_accuracy, runs_of(results, name)))


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


def label_of(results: dict[str, Any], name: str) -> str:
    """The strategy's; one that its start rule never let begin was uniform sampling."""
    label = str(results["strategies"][name]["label"])
    return label if began(results, name) else label + NEVER


def epochs_of(results: dict[str, Any]) -> float:
    """How often uniform sampling goes through the samples."""
    settings = results["settings"]
    steps = fmean(run["curve"]["step"][-1] for run in runs_of(results, "uniform"))
    return float(steps * settings["mini_batch"] / settings["pool"])


def title_of(results: dict[str, Any]) -> str:
    settings = results["settings"]
    title = f"{task_title(results)}, {settings['pool']:,} samples"
    if share := settings.get("wrong_labels"):
        title += f", {100 * share:g}% of their labels wrong"
    title += ", compiled for all" * bool(settings.get("compiled"))
    title += ", long runs" * is_long(settings)
    return title + ", tuned rates" * bool(results.get("tuning"))


def markdown(results: list[dict[str, Any]]) -> str:
    """Who gains and who loses, and a table of each comparison from its best to its weakest."""
    judged = [judge(result) for result in results]
    lines = [
        "Better by time than the strongest baseline:",
        "",
        *named(judged, "better"),
        "",
        "Worse:",
        "",
        *named(judged, "worse"),
        "",
        *(line for result in results for line in section(result)),
    ]
    return "\n".join(lines[:-1]) + "\n"


def named(judged: list[Judged], verdict: str) -> list[str]:
    """A line for each training: which choices are so by time against its strongest baseline."""
    lines = []
    for each in judged:
        labels = [
            row.label
            for row in each.choices
            if (share := row.time_over_strongest) and share.verdict == verdict
        ]
        if labels:
            beside = ALONE if each.has_uniform_alone else each.strongest.label
            lines.append(f"- **{each.title}** ({beside}): {'; '.join(labels)}")
    return lines or ["- none"]


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
        f"points at the end, over {judged.most_accurate.label}",
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
        f"{counts}; over uniform's steps: {counted(row.steps for row in judged.choices)}; "
        f"points at the end: {counted(row.points for row in judged.choices)}.",
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
    shares = [share_cells(share) for share in (row.time, row.steps, row.points)]
    return [label, *shares[0], *over_strongest, *shares[1], *shares[2]]


def strongest(judged: Judged) -> str:
    if judged.has_uniform_alone:
        return "no other baseline was measured"
    return f"the strongest of {len(judged.baselines)} baselines is {judged.strongest.label}"


def counted(shares: Iterable[OverSeeds | None]) -> str:
    """How many of the choices are better, how many are not."""
    found = Counter(map(verdict_of, shares))
    return ", ".join(f"{found[word]} {word}" for word in WORDS if found[word])


def short(results: list[dict[str, Any]]) -> str:
    """The best and the weakest choices of each comparison, and how many pay in all."""
    everything = [judge(result) for result in results]
    rows = [cells for judged in everything for cells in short_rows(judged)]
    headings = [
        "training",
        "which",
        "strategy",
        "over uniform's time",
        "which is",
        "strongest baseline",
        "over its time",
        "which is",
    ]
    return "\n".join([*summary(everything), "", *table(headings, rows)]) + "\n"


def summary(everything: list[Judged]) -> list[str]:
    """How many choices of rows pay in all, and how often the default does: a table."""
    choices = [row for judged in everything for row in judged.choices]
    tasks = sorted({judged.task for judged in everything})
    alone = sum(judged.has_uniform_alone for judged in everything)
    shares: dict[str, list[OverSeeds | None]] = {
        "time, over uniform sampling's": [row.time for row in choices],
        "time, the default `Selector(model, n)`": [row.time for row in choices if row.is_default],
        "time, over the strongest baseline's": [row.time_over_strongest for row in choices],
        "steps, over uniform sampling's": [row.steps for row in choices],
        "accuracy at the end, over the most accurate baseline's": [row.points for row in choices],
    }
    counts = {what: Counter(map(verdict_of, each)) for what, each in shares.items()}
    words = [word for word in WORDS if any(word in count for count in counts.values())]
    rows = [[what, *(str(count[word]) for word in words)] for what, count in counts.items()]
    return [
        f"{len(choices)} comparisons with uniform sampling in {len(everything)} trainings of "
        f"{', '.join(tasks)}, by what they take to an accuracy and have at the end. Trainings with "
        f"no other baseline: {alone}.",
        "",
        *table(["by", *words], rows),
    ]


def verdict_of(share: OverSeeds | None) -> str:
    return "nothing to compare" if share is None else share.verdict


def short_rows(judged: Judged) -> list[list[str]]:
    """At most three rows."""
    chosen = {
        "default": judged.default,
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
            ALONE if judged.has_uniform_alone else judged.strongest.label,
            *share_cells(rows[name].time_over_strongest),
        ]
        for name, what in by_row.items()
    ]


def grid(results: list[dict[str, Any]]) -> str:
    """Every choice of rows in every training, by time and by steps; most trainings first."""
    found: dict[str, dict[str, str]] = {}
    labels: dict[str, str] = {}
    everything = [judge(result) for result in results]
    for judged in everything:
        for row in judged.choices:
            label = labels[row.name] = row.label.removesuffix(NEVER)
            cell = f"{mark(row.time)} / {mark(row.steps)}{row.label.removeprefix(label)}"
            found.setdefault(row.name, {})[judged.title] = cell
    titles = [judged.title for judged in everything]
    names = sorted(found, key=lambda name: -len(found[name]))
    rows = [[labels[name], *(found[name].get(title, "") for title in titles)] for name in names]
    return "\n".join(table(["time / steps over uniform's", *titles], rows)) + "\n"


def mark(share: Share | None) -> str:
    """The median, bold where it is better and in italics where it is worse."""
    if share is None:
        return "-"
    text = "never" if share.median == math.inf else f"{share.median:.2f}"
    return {"better": f"**{text}**", "worse": f"*{text}*"}.get(share.verdict, text)


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
    print("\n".join(part(results) for part in (short, grid, markdown)))
