"""The command line: `python -m bench COMMAND --help`."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from bench.arguments import positive_float, positive_int, share
from bench.operators import against, ranks, ratios, variance
from bench.operators.gpu import suite as gpu
from bench.papers import thresholds
from bench.report import (
    figures,
    paper_tables,
    readme,
    strategies_table,
    study_figures,
    wrong_labels_table,
)
from bench.report.files import read_json, write_atomically
from bench.tasks import TASKS
from bench.tasks.task import Budget
from bench.training.comparison import Comparison
from bench.training.making import parse_start
from bench.training.recipe import COMPILED, DECAYED
from bench.training.runner import run_until_stopped
from bench.training.strategies import (
    ALL,
    BASELINES,
    STRATEGIES,
    beyond_the_paper,
    find,
    is_known,
    known,
)
from bench.training.taking_over import take_over
from impsamp_fast import keep_freed_memory


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    compare = commands.add_parser("compare", help="train with each strategy, table and figures")
    compare.add_argument("task", choices=TASKS)
    compare.add_argument(
        "--strategies",
        nargs="+",
        metavar="NAME",
        help=f'"{ALL}" of the library, "{BASELINES}", or any of {", ".join(known())}, with '
        f'"{COMPILED}", "{DECAYED}" or both behind; the first {len(STRATEGIES)} if none is named',
    )
    compare.add_argument("--seeds", type=positive_int, default=5, help="runs per strategy (5)")
    length = compare.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive_int, help="training steps of each run")
    length.add_argument("--seconds", type=positive_float, help="training time of each run")
    compare.add_argument(
        "--start", help='when importance sampling begins: "always", "after:STEPS", "ratio:R", ...'
    )
    compare.add_argument(
        "--rate",
        nargs="+",
        type=named_rate,
        default=[],
        metavar="NAME=RATE",
        help="learning rates of strategies, where they are not the task's",
    )
    compare.add_argument(
        "--compile", action="store_true", help="compile the training forward pass of all strategies"
    )
    compare.add_argument(
        "--target",
        nargs="+",
        type=float,
        default=[],
        metavar="ACCURACY",
        help="accuracies to reach, the first one in all tables and figures (uniform's at its end)",
    )
    compare.add_argument(
        "--threads",
        type=positive_int,
        help="of torch, for all strategies (two-circles 1, else torch's)",
    )
    compare.add_argument(
        "--pool",
        type=positive_int,
        metavar="SAMPLES",
        help="train on the first so many (all; with strategies of the data-set level "
        + ", ".join(f"{task.epoch_pool} of {task.name}" for task in TASKS.values())
        + ")",
    )
    compare.add_argument(
        "--wrong-labels",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="replace this share of the training labels by other classes; the test set stays clean",
    )
    compare.add_argument(
        "--data-root",
        type=Path,
        default=Path("data"),
        help="has MNIST/raw, CIFAR10/train ... (data)",
    )
    compare.add_argument(
        "--out",
        type=Path,
        help="where results go (out/TASK, with -strategies for others than the first 8)",
    )
    compare.set_defaults(run=run_compare)

    draw = commands.add_parser("figures", help="draw the figures of a comparison again")
    draw.add_argument("directory", type=Path)
    draw.set_defaults(run=lambda args: draw_figures(args.directory))

    study = commands.add_parser("thresholds", help="how early importance sampling should begin")
    thresholds.add_arguments(study)
    study.set_defaults(run=thresholds.run)

    ratio = commands.add_parser("ratios", help="each operator beside what else could be written")
    ratio.add_argument(
        "--against",
        type=Path,
        metavar="TREE",
        help="beside the operators of another source tree, built in place, instead",
    )
    ratio.add_argument("--out", type=Path, help=f"({ratios.RESULT}, or none with --against)")
    ratio.add_argument("--threads", type=positive_int, default=2)
    ratio.set_defaults(run=run_ratios)

    on_gpu = commands.add_parser("gpu", help="the operators on a GPU, checked and timed")
    gpu.add_arguments(on_gpu)
    on_gpu.set_defaults(run=gpu.run)

    saving = commands.add_parser("variance", help="what each way to draw saves")
    saving.add_argument("--out", type=Path, default=variance.RESULT)
    saving.set_defaults(run=lambda args: variance.main(args.out))

    several = commands.add_parser("ranks", help="rows of all ranks of a process group")
    several.add_argument("--out", type=Path, help="(none)")
    several.set_defaults(run=lambda args: ranks.main(args.out))

    write = commands.add_parser("readme", help="tables and figure of the pages from bench/results")
    write.add_argument(
        "--compare", type=Path, metavar="DIR", help="first take over this comparison"
    )
    write.set_defaults(run=run_readme)
    return top


def named_rate(text: str) -> tuple[str, float]:
    name, _, rate = text.partition("=")
    if not is_known(name):
        raise argparse.ArgumentTypeError(f'no strategy "{name}"')
    return name, positive_float(rate)


def run_ratios(args: argparse.Namespace) -> None:
    if args.against is None:
        ratios.main(args.out or ratios.RESULT, args.threads)
    else:
        against.main(args.against, args.out, args.threads)


def run_compare(args: argparse.Namespace) -> None:
    task = TASKS[args.task]
    threads = args.threads or task.threads
    if threads:
        torch.set_num_threads(threads)
    start = args.start or task.start
    parse_start(start)  # a wrong one should not surface after minutes
    budget = task.budget
    if args.steps or args.seconds:
        budget = Budget(args.steps, args.seconds)
    strategies = find(args.strategies or list(STRATEGIES))
    wide = beyond_the_paper(strategy.name for strategy in strategies)
    comparison = Comparison(
        # Two dozen pages of picked pictures would take longer to draw than to train.
        task=replace(task, count_picks=task.count_picks and not wide, compiled=args.compile),
        strategies=strategies,
        seeds=args.seeds,
        budget=budget,
        start=start,
        out=args.out or default_out(task.name, wide, args.wrong_labels),
        targets=tuple(args.target),
        rates=dict(args.rate),
        pool=args.pool,
        wrong_labels=args.wrong_labels,
        keeps_memory=keep_freed_memory(),
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


def run_readme(args: argparse.Namespace) -> None:
    if args.compare is not None:
        take_over(args.compare)
    readme.main()


def draw_figures(directory: Path) -> None:
    if not (directory / "results.json").exists():
        raise SystemExit(f"{directory} has no results.json: run `python -m bench compare` first")
    results = read_json(directory / "results.json")
    if study := results["settings"].get("study"):
        print(study_figures.draw(results, directory / f"{study}.png"))
        return
    for path in figures.draw(results, directory):
        print(path)


def main(arguments: list[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    args.run(args)


if __name__ == "__main__":
    main()
