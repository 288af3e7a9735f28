"""What the commands that train have in common: what is trained, how and for how long."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from bench.arguments import positive_float, positive_int, share
from bench.report.results import COMPILED, DECAYED
from bench.tasks import TASKS
from bench.tasks.task import Budget
from bench.training.comparison import Comparison
from bench.training.making import parse_start
from bench.training.strategies import ALL, BASELINES, USUAL, find, known
from impsamp_fast import keep_freed_memory


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive_int, help="training steps of each run")
    length.add_argument("--seconds", type=positive_float, help="training time of each run")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """All but the length of a run."""
    parser.set_defaults(steps=None, seconds=None)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument(
        "--strategies",
        nargs="+",
        metavar="NAME",
        help=f'"{ALL}" of the library, "{BASELINES}", or any of {", ".join(known())}, with '
        f'"{COMPILED}", "{DECAYED}" or both behind ({" ".join(USUAL)})',
    )
    parser.add_argument(
        "--start", help='when importance sampling begins: "always", "after:STEPS", "ratio:R", ...'
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the training forward pass of all strategies"
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        help="of torch, for all strategies (two-circles 1, else torch's)",
    )
    parser.add_argument(
        "--pool",
        type=positive_int,
        metavar="SAMPLES",
        help="train on the first so many (all; with strategies of the data-set level "
        + ", ".join(f"{task.epoch_pool} of {task.name}" for task in TASKS.values())
        + ")",
    )
    parser.add_argument(
        "--wrong-labels",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="replace this share of the training labels by other classes; the test set stays clean",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path("data"),
        help="has MNIST/raw, CIFAR10/train ... (data)",
    )


def comparison_of(args: argparse.Namespace) -> Comparison:
    """What the arguments ask for, with torch's threads and the memory set for it."""
    task = TASKS[args.task]
    threads = args.threads or task.threads
    if threads:
        torch.set_num_threads(threads)
    start = args.start or task.start
    parse_start(start)  # a wrong one should not surface after minutes
    given = args.steps or args.seconds
    return Comparison(
        task=replace(task, compiled=args.compile),
        strategies=find(list(args.strategies or USUAL)),
        seeds=args.seeds,
        budget=Budget(args.steps, args.seconds) if given else task.budget,
        start=start,
        out=Path("out") / args.task,
        pool=args.pool,
        wrong_labels=args.wrong_labels,
        keeps_memory=keep_freed_memory(),
    )
