"""How early importance sampling should begin (Knutsson et al. 2023).

Each strategy samples uniformly until the loss of a mini-batch has fallen below a threshold's share
of the first one, and by importance from then on.
"""

import argparse
from dataclasses import replace

from bench.arguments import positive_float
from bench.papers import study
from bench.report import thresholds_table
from bench.report.thresholds_table import SEPARATOR
from bench.tasks.task import Budget, Task
from bench.training.strategies import STRATEGIES, Strategy, find

# The paper's, and some of its thresholds.
STUDIED = ("highest-loss", "highest-loss-cdf", "gradient-norm", "gradient-norm-cdf")
THRESHOLDS = (1.0, 0.8, 0.74, 0.5, 0.42, 0.26)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    study.add_arguments(parser, seeds=3)
    study.add_length(parser)
    parser.add_argument(
        "--strategies", nargs="+", metavar="NAME", default=STUDIED, help=f"({' '.join(STUDIED)})"
    )
    parser.add_argument(
        "--thresholds",
        nargs="+",
        type=positive_float,
        metavar="RATIO",
        default=THRESHOLDS,
        help=f"({' '.join(f'{threshold:g}' for threshold in THRESHOLDS)})",
    )


def run(args: argparse.Namespace) -> None:
    task = study.task_of(args)
    budget = Budget(args.steps, args.seconds) if args.steps or args.seconds else task.budget
    strategies = [
        with_threshold(strategy, threshold, task)
        for strategy in find(args.strategies)
        for threshold in sorted(set(args.thresholds), reverse=True)
    ]
    strategies.insert(0, STRATEGIES["uniform"])
    data = task.load(args.data_root)
    study.compare("thresholds", args, task, data, strategies, budget, thresholds_table.markdown)


def with_threshold(strategy: Strategy, threshold: float, task: Task) -> Strategy:
    if strategy.start_rule("always", task, 1) is None:
        raise SystemExit(f"{strategy.name} has no start rule that could be another")
    return replace(
        strategy,
        name=f"{strategy.name}{SEPARATOR}{threshold:g}",
        label=f"{strategy.label}, {threshold:g}",
        factory=strategy.factory or strategy.base,
        start=f"ratio:{threshold:g}",
    )
