"""Whether classes balance among the picks (Quercia et al. 2023), epoch by epoch."""

import argparse
from dataclasses import replace
from pathlib import Path

from bench.arguments import positive_int, share
from bench.papers import study
from bench.report import balance_table
from bench.tasks.task import Budget
from bench.training.arguments import add_settings, comparison_of

STUDIED = ("uniform", "early-importance", "highest-loss-cdf", "gradient-norm-cdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    parser.set_defaults(strategies=STUDIED)
    parser.add_argument("--seeds", type=positive_int, default=3, help="runs per strategy (3)")
    parser.add_argument("--epochs", type=positive_int, default=12, help="of each run (12)")
    parser.add_argument(
        "--rare",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="train on this share of the samples of the latter half of the classes (1)",
    )
    parser.add_argument("--out", type=Path, help="where results go (out/TASK-balance)")


def run(args: argparse.Namespace) -> None:
    comparison = comparison_of(args)
    task = comparison.task
    data, pool = task.load(args.data_root), args.pool or task.epoch_pool
    # As many steps for all, however many rows a strategy scores in one.
    steps = max(1, len(data.first(pool).with_rare_classes(args.rare).y) // task.mini)
    comparison = replace(
        comparison,
        task=replace(task, count_classes=True, evaluate_every=steps),
        budget=Budget(steps=args.epochs * steps),
        pool=pool,
        rare_classes=args.rare,
    )
    study.compare("balance", comparison, data, args.out, balance_table.markdown)
