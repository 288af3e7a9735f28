"""`python -m bench pictures`: the figures of docs/pictures.md, and the runs that they show."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench.report import pictures
from bench.report.files import RESULTS, write_atomically
from bench.tasks import TASKS
from bench.tasks.task import Data, Task
from impsamp_fast import After, MiniBatch, PickCounts, Selector, plot

POOL = 8192  # of MNIST
STEPS = 400
SHOWN = 20  # of the most and of the least picked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DATA",
        help="first train on Two Circles and on the MNIST that this directory has",
    )


def run(args: argparse.Namespace) -> None:
    if args.record is not None:
        mnist = TASKS["mnist"]
        arrays = record(mnist, mnist.load(args.record).first(POOL))
        write_atomically(pictures.RECORDED, lambda path: np.savez_compressed(path, **arrays))
        print(pictures.RECORDED)
    with np.load(pictures.RECORDED) as recorded:
        for path in pictures.draw(dict(recorded), RESULTS):
            print(path)


def record(task: Task, data: Data) -> dict[str, np.ndarray]:
    """What is drawn of a task with pictures, and the decision map of Two Circles."""
    trained = train(task, data)
    shown = torch.cat([trained.counts.most(SHOWN), trained.counts.least(SHOWN)])
    assert task.to_pixels is not None
    circles = TASKS["two-circles"]
    decided = train(circles, circles.load(Path()))
    return {
        **pictures.packed(trained.history),
        "counts": trained.counts.counts.int().numpy(),
        "classes": data.y.byte().numpy(),
        "shown": shown.numpy(),
        "pictures": task.to_pixels(data.x[shown]),
        "map": plot.decision_map(decided.model).mul(255).round().byte().numpy(),
        "points": decided.last.x.numpy(),
        "labels": decided.last.y.numpy(),
    }


@dataclass(frozen=True)
class Trained:
    model: nn.Module
    counts: PickCounts
    history: plot.History
    last: MiniBatch


def train(task: Task, data: Data) -> Trained:
    """A tenth of the steps by uniform sampling, then by gradient norms."""
    torch.manual_seed(0)
    model = task.network()
    optimizer = task.optimizer(model.parameters(), lr=task.learning_rate)
    counts, history = PickCounts(len(data.x)), plot.History(every=STEPS // 50)
    selector = Selector(
        model, n=task.mini, start=After(STEPS // 10), counts=counts, observe=history, seed=0
    )
    for _ in range(STEPS):
        index = torch.randint(len(data.x), (task.large,))
        batch = selector(data.x[index], data.y[index], index=index)
        loss = batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Trained(model, counts, history, batch)
