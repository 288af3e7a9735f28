"""Whether classes balance among the picks (Quercia et al. 2023), epoch by epoch."""

import argparse
from dataclasses import replace

from bench.arguments import positive_int, share
from bench.papers import study
from bench.report import balance_table
from bench.tasks.task import Budget
from bench.training.strategies import find

STUDIED = ("uniform", "early-importance", "highest-loss-cdf", "gradient-norm-cdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    study.add_arguments(parser, seeds=3)
    parser.add_argument("--epochs", type=positive_int, default=12, help="of each run (12)")
    parser.add_argument(
        "--rare",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="train on this share of the samples of the latter half of the classes (1)",
    )
    parser.add_argument(
        "--strategies", nargs="+", metavar="NAME", default=STUDIED, help=f"({' '.join(STUDIED)})"
    )


def run(args: argparse.Namespace) -> None:
    task = study.task_of(args)
    data = task.load(args.data_root)
    args.pool = args.pool or task.epoch_pool
    # As many steps for all, however many rows a strategy scores in one.
    steps = len(data.first(args.pool).with_rare_classes(args.rare).y) // task.mini
    task = replace(task, count_classes=True, evaluate_every=steps)
    budget = Budget(steps=args.epochs * steps)
    strategies = find(args.strategies)
    table = balance_table.markdown
    study.compare("balance", args, task, data, strategies, budget, table, rare_classes=args.rare)
