"""The experiments of Smedås (2021): accuracy filters by batch, by epoch, and both.

One table: data sets, networks, batch sizes and ways to choose. Runs that are on disk are not made
again: DIR/runs/NAME.json.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench.arguments import positive_int
from bench.papers import study
from bench.papers.epochs import LARGE, EpochTraining, Way, ways
from bench.report import machine, smedas_table
from bench.report.files import read_json, write_json
from bench.tasks import TASKS
from bench.tasks.augmentation import crop_and_flip
from bench.tasks.networks import fcnet, lenet, resnet18
from bench.tasks.task import Data, Task
from impsamp_fast import keep_freed_memory

DATA = ("mnist", "fashion-mnist", "cifar10", "cifar100")
NETWORKS = {
    "fcnet100": partial(fcnet, 100),
    "fcnet1000": partial(fcnet, 1000),
    "fcnet3000": partial(fcnet, 3000),
    "lenet": lenet,
    "resnet18": resnet18,
}
SGD = partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4)
LEARNING_RATE = 0.1
# Of Okabe and Ito's palette.
COLOURS = {
    None: "#000000",
    "hard-accuracy": "#D55E00",
    "soft-accuracy": "#E69F00",
    "top-k": "#0072B2",
    "top-q": "#56B4E9",
    "loss-weighted": "#009E73",
    "loss-split": "#CC79A7",
}
STUDIED = ("uniform", "hard-accuracy", "soft-accuracy", "epochwise", "epochwise+hard-accuracy")


@dataclass(frozen=True)
class Scope:
    """What is trained where nothing else is asked for."""

    data: tuple[str, ...]
    networks: tuple[str, ...]
    batches: tuple[int, ...]
    epochs: int
    seeds: int


# The one for a CPU; the other is the thesis's data, networks and batch size, with epochs of ours.
SMALL = Scope(("mnist",), ("fcnet100", "lenet"), (1024,), epochs=5, seeds=2)
FULL = Scope(("mnist", "cifar10", "cifar100"), tuple(NETWORKS), (128, 1024), epochs=30, seeds=3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--full", action="store_true", help=f"the defaults are {told(FULL)}, for a GPU"
    )
    parser.add_argument("--data", nargs="+", choices=DATA, help=f"({told(SMALL)})")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS)
    parser.add_argument("--batches", nargs="+", type=positive_int, metavar="ROWS")
    parser.add_argument("--epochs", type=positive_int, help="of each run")
    parser.add_argument("--seeds", type=positive_int, help="runs of each kind")
    parser.add_argument(
        "--ways", nargs="+", choices=ways(), default=STUDIED, help=f"({' '.join(STUDIED)})"
    )
    parser.add_argument("--pool", type=positive_int, metavar="SAMPLES", help="the first so many")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--threads", type=positive_int, help="of torch")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="as in compare")
    parser.add_argument("--out", type=Path, default=Path("out/smedas"), help="(out/smedas)")


def told(scope: Scope) -> str:
    batches = " and ".join(map(str, scope.batches))
    return (
        f"{' '.join(scope.data)}; {' '.join(scope.networks)}; batches of {batches}; "
        f"{scope.epochs} epochs; {scope.seeds} seeds"
    )


def run(args: argparse.Namespace) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    scope = FULL if args.full else SMALL
    given = {name: getattr(args, name) for name in vars(scope) if getattr(args, name)}
    scope = replace(scope, **given)
    settings = {
        "study": "smedas",
        "epochs": scope.epochs,
        "pool": args.pool,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else args.device,
        "learning_rate": LEARNING_RATE,
        "large_batches": LARGE,
        "keeps_memory": keep_freed_memory(),
    }
    runs, sources = [], {}
    kinds = list(product(scope.networks, scope.batches, range(scope.seeds), args.ways))
    with tqdm(total=len(scope.data) * len(kinds), unit="run", disable=None) as bar:
        for name in scope.data:
            data = TASKS[name].load(args.data_root)
            data = data.first(args.pool or len(data.y)).to(args.device)
            sources[name] = data.source
            if len(data.y) < max(scope.batches):
                raise SystemExit(
                    f"{name} has {len(data.y)} samples, expected at least {max(scope.batches)}, "
                    "the rows of a batch"
                )
            for network, batch, seed, way in kinds:
                task = task_of(name, network, batch, data)
                runs.append(made(task, data, ways()[way], seed, settings, args.out))
                bar.update()
                if bar.disable:  # no terminal: lines instead
                    done = f"{len(runs)} of {bar.total} runs"
                    print(f"{done}: {outcome(runs[-1])}", file=sys.stderr)
    results = {
        "format": 1,
        "machine": machine.describe(),
        "commits": list(dict.fromkeys(run["commit"] for run in runs)),
        "seeds": list(range(scope.seeds)),
        "strategies": {run["strategy"]: looks_of(run["strategy"]) for run in runs},
        "settings": settings | {"optimizer": task.optimizer_name, "sources": sources},
        "runs": runs,
    }
    write_json(args.out / "results.json", results)
    study.show(results, args.out, smedas_table.markdown)


def outcome(run: dict[str, Any]) -> str:
    curve = run["curve"]
    return (
        f"{run['strategy']}, seed {run['seed']}: {100 * run['test']['accuracy']:.2f}% after "
        f"{curve['step'][-1]} steps in {curve['seconds'][-1]:.1f} s"
    )


def looks_of(strategy: str) -> dict[str, str]:
    """A colour for what is chosen by batch, and a dashed line for what is chosen by epoch."""
    way = ways()[strategy.rpartition("/")[2]]
    line = "--" if way.epochwise else "-"
    return {"label": strategy, "colour": COLOURS[way.batchwise], "line": line}


def task_of(name: str, network: str, batch: int, data: Data) -> Task:
    """A task's data with another network, optimiser and batch size."""
    _, channels, side, _ = data.x.shape
    return replace(
        TASKS[name],
        name=f"{name}/{network}/{batch}",
        network=partial(NETWORKS[network], channels, side, data.classes),
        learning_rate=LEARNING_RATE,
        optimizer=SGD,
        mini=batch,
    )


def made(
    task: Task, data: Data, way: Way, seed: int, settings: dict[str, Any], out: Path
) -> dict[str, Any]:
    """The record of a run, from disk where it is there with the same settings."""
    key = settings | {
        "optimizer": task.optimizer_name,
        "machine": machine.describe(),
        "extension": machine.extension_hash(),
    }
    path = out / "runs" / f"{task.name.replace('/', '-')}-{way.name}-{seed}.json"
    if path.exists() and (record := read_json(path))["key"] == key:
        return {k: v for k, v in record.items() if k != "key"}
    augment = crop_and_flip if task.name.startswith("cifar") else None
    training = EpochTraining(task, data, way, seed, augment)
    curve: dict[str, list[float]] = {"step": [], "seconds": [], "accuracy": [], "loss": []}
    for epoch in range(settings["epochs"]):
        training.train_epoch(epoch)
        test = training.measure(data.test_x, data.test_y)
        for quantity, value in (
            ("step", training.steps),
            ("seconds", round(training.seconds, 4)),
            ("accuracy", test["accuracy"]),
            ("loss", test["mean"]),
        ):
            curve[quantity].append(value)
    record = {
        "strategy": f"{task.name}/{way.name}",
        "seed": seed,
        "commit": machine.commit(),
        "test": test,
        "train": training.measure(data.x, data.y),
        "curve": curve,
    }
    write_json(path, record | {"key": key})
    return record
