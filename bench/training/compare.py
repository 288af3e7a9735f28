"""`python -m bench compare`: train with each strategy, table and figures."""

import argparse
from dataclasses import replace
from pathlib import Path

from bench.arguments import positive_float, positive_int, share
from bench.report import figures, paper_tables, strategies_table, study_figures, wrong_labels_table
from bench.report.files import read_json, write_atomically
from bench.training.arguments import add_training_arguments, comparison_of
from bench.training.comparison import TUNING_SEEDS
from bench.training.runner import run_until_stopped
from bench.training.strategies import beyond_the_paper, is_known
from bench.training.tune import tuned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)
    parser.add_argument("--seeds", type=number_of_seeds, default=5, help="runs per strategy (5)")
    parser.add_argument(
        "--rate",
        nargs="+",
        type=named_rate,
        default=[],
        metavar="NAME=RATE",
        help="learning rates of strategies, where they are not the task's",
    )
    parser.add_argument(
        "--rates",
        type=Path,
        metavar="FILE",
        help="learning rates that `python -m bench tune` chose; those of --rate come first",
    )
    parser.add_argument(
        "--target",
        nargs="+",
        type=share,
        default=[],
        metavar="ACCURACY",
        help="accuracies to reach, the first one in all tables and figures (what uniform has at "
        "its end with every seed)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="where results go (out/TASK, with -strategies for more than the paper's)",
    )


def number_of_seeds(text: str) -> int:
    value = positive_int(text)
    if value > TUNING_SEEDS:
        raise argparse.ArgumentTypeError(f"seeds from {TUNING_SEEDS} on are for tuning")
    return value


def named_rate(text: str) -> tuple[str, float]:
    name, _, rate = text.partition("=")
    if not is_known(name):
        raise argparse.ArgumentTypeError(f'no strategy "{name}"')
    return name, positive_float(rate)


def run(args: argparse.Namespace) -> None:
    comparison = comparison_of(args)
    task, names = comparison.task, [strategy.name for strategy in comparison.strategies]
    wide = beyond_the_paper(names)
    tuning = None if args.rates is None else tuned(args.rates, task, {*names} - {*dict(args.rate)})
    comparison = replace(
        comparison,
        # Two dozen pages of picked pictures would take longer to draw than to train.
        task=replace(task, count_picks=task.count_picks and not wide),
        out=args.out or default_out(task.name, wide, args.wrong_labels),
        targets=tuple(args.target),
        rates=(tuning["rates"] if tuning else {}) | dict(args.rate),
        tuning=tuning,
    )
    results = run_until_stopped(comparison, task.load(args.data_root))
    wide_or_not = strategies_table if wide else paper_tables
    text = (wrong_labels_table if args.wrong_labels else wide_or_not).markdown(results)
    print(text)
    table = comparison.out / "table.md"
    write_atomically(table, lambda partial: partial.write_text(text))
    print(f"{table}\n{comparison.out / 'results.json'}")
    draw_figures(comparison.out)


def default_out(task: str, wide: bool, wrong_labels: float) -> Path:
    kind = "-wrong-labels" if wrong_labels else "-strategies" if wide else ""
    return Path("out") / f"{task}{kind}"


def draw_figures(directory: Path) -> None:
    if not (directory / "results.json").exists():
        raise SystemExit(f"{directory} has no results.json: run `python -m bench compare` first")
    results = read_json(directory / "results.json")
    if study := results["settings"].get("study"):
        print(study_figures.draw(results, directory / f"{study}.png"))
        return
    for path in figures.draw(results, directory):
        print(path)
