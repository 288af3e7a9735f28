"""How early importance sampling should begin (Knutsson et al. 2023).

Each strategy samples uniformly until the loss of a mini-batch has fallen below a threshold's share
of the first one, and by importance from then on.
"""

import argparse
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path

from bench.arguments import positive_float, positive_int
from bench.papers import study
from bench.report import thresholds_table
from bench.report.thresholds_table import SEPARATOR
from bench.tasks.task import Task
from bench.training.arguments import add_training_arguments, comparison_of
from bench.training.strategies import LINES, STRATEGIES, Strategy

# The paper's, and some of its thresholds.
STUDIED = ("highest-loss", "highest-loss-cdf", "gradient-norm", "gradient-norm-cdf")
THRESHOLDS = (1.0, 0.8, 0.74, 0.5, 0.42, 0.26)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)
    parser.set_defaults(strategies=STUDIED)
    parser.add_argument("--seeds", type=positive_int, default=3, help="runs per strategy (3)")
    parser.add_argument(
        "--thresholds",
        nargs="+",
        type=positive_float,
        metavar="RATIO",
        default=THRESHOLDS,
        help=f"({' '.join(f'{threshold:g}' for threshold in THRESHOLDS)})",
    )
    parser.add_argument("--out", type=Path, help="where results go (out/TASK-thresholds)")


def run(args: argparse.Namespace) -> None:
    comparison = comparison_of(args)
    thresholds = zip(sorted(set(args.thresholds), reverse=True), cycle(LINES))
    strategies = [
        with_threshold(strategy, threshold, line, comparison.task)
        for strategy, (threshold, line) in product(comparison.strategies, thresholds)
    ]
    comparison = replace(comparison, strategies=[STRATEGIES["uniform"], *strategies])
    data = comparison.task.load(args.data_root)
    study.compare("thresholds", comparison, data, args.out, thresholds_table.markdown)


def with_threshold(strategy: Strategy, threshold: float, line: str, task: Task) -> Strategy:
    if strategy.row_loop or strategy.start_rule("always", task, 1) is None:
        raise SystemExit(f"{strategy.name} has no start rule that could be another")
    return replace(
        strategy,
        name=f"{strategy.name}{SEPARATOR}{threshold:g}",
        label=f"{strategy.label}, {threshold:g}",
        line=line,
        factory=strategy.in_registry,
        start=f"ratio:{threshold:g}",
    )
