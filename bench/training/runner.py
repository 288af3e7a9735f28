"""All runs of a comparison: in order, resumable, with what they leave on disk.

DIR/runs/STRATEGY-SEED.json   a finished run; .npz beside it holds its arrays
DIR/runs/STRATEGY-SEED.pt     a run that was interrupted
DIR/epochs.json               how many epochs data-set level strategies plan for
DIR/results.json, DIR/pictures.npz   everything, once all runs are there
"""

import math
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench.report import machine, paper_tables, strategies_table
from bench.report.files import read_json, write_atomically, write_json
from bench.report.results import final_accuracy, target
from bench.tasks import mnist_files as mnist
from bench.tasks.task import Budget, Data, Task
from bench.training import time_split
from bench.training.run import Training
from bench.training.strategies import (
    STRATEGIES,
    Strategy,
    make_for_batches,
    make_for_dataset,
    parameters_of,
)

CHECKPOINT_SECONDS = 10.0
WARM_UP_STEPS = 20
PACE_STEPS = 200  # of uniform sampling, timed to say how many epochs fit into a time budget
DIGITS_SHOWN = 40  # of the most and of the least picked


@dataclass(frozen=True)
class Comparison:
    """What is compared, and for how long."""

    task: Task
    strategies: list[Strategy]
    seeds: int
    budget: Budget
    start: str
    out: Path
    target: float | None = None  # accuracy; None: uniform sampling's at its end
    pool: int | None = None  # training samples; None: all
    epochs: int = 1  # which data-set level strategies plan for

    @property
    def has_dataset_level(self) -> bool:
        return any(strategy.level == "dataset" for strategy in self.strategies)

    def budget_of(self, strategy: Strategy) -> Budget:
        """The row-by-row loop gets few steps: enough to time it, too slow for the rest."""
        if strategy.row_loop and self.budget.steps is not None:
            return Budget(steps=max(1, self.budget.steps // 150))
        return self.budget

    def settings(self) -> dict[str, Any]:
        """What holds for all runs, as JSON-ready values."""
        task = self.task
        return {
            "task": task.name,
            "large_batch": task.large,
            "mini_batch": task.mini,
            "optimizer": "Adam",
            "learning_rate": task.learning_rate,
            "start": self.start,
            "evaluate_every": task.evaluate_every,
            "budget": asdict(self.budget),
            "pool": self.pool,
            "epochs": self.epochs if self.has_dataset_level else None,
        }


def run_all(comparison: Comparison, data: Data) -> dict[str, Any]:
    """Make every run that is not on disk yet; write and return the results."""
    task = comparison.task
    default_pool = task.epoch_pool if comparison.has_dataset_level else len(data.y)
    data = data.first(comparison.pool or default_pool)
    comparison = replace(comparison, pool=len(data.y))
    if comparison.has_dataset_level:
        comparison = replace(comparison, epochs=epochs_to_plan(comparison, data))
    # Seed by seed, so that a machine that slows down in between hits all strategies alike.
    plan = [(s, seed) for seed in range(comparison.seeds) for s in comparison.strategies]
    warmed_up = False
    from_disk = 0
    runs = []
    with tqdm(total=len(plan), unit="run", disable=None) as bar:
        for strategy, seed in plan:
            bar.set_description(f"{strategy.label}, seed {seed}")
            run = finished(comparison, strategy, seed)
            if run is None:
                if not warmed_up:
                    warm_up(comparison, data)
                    warmed_up = True
                run = run_one(comparison, data, strategy, seed, bar)
            else:
                from_disk += 1
            runs.append(run)
            bar.update(round(bar.n) + 1 - bar.n)
            if bar.disable:  # no terminal: lines instead
                line = f"{len(runs)} of {len(plan)} runs: {outcome(strategy, seed, run)}"
                print(line, file=sys.stderr, flush=True)
    if from_disk:
        print(f"{from_disk} of {len(plan)} runs taken from {comparison.out / 'runs'}")
    results = collect(comparison, runs)
    write_json(comparison.out / "results.json", results)
    pictures = collect_pictures(comparison, data)
    path = comparison.out / "pictures.npz"
    write_atomically(path, lambda partial: np.savez_compressed(partial, **pictures))
    return results


def outcome(strategy: Strategy, seed: int, run: dict[str, Any]) -> str:
    curve = run["curve"]
    return (
        f"{strategy.label}, seed {seed}: {100 * final_accuracy(run):.2f}% after "
        f"{curve['step'][-1]} steps in {curve['seconds'][-1]:.1f} s"
    )


def epochs_to_plan(comparison: Comparison, data: Data) -> int:
    """How many epochs uniform sampling would make of the budget, at least 1.

    Under a time budget that is measured once and kept: a comparison that is taken up again plans
    for as many.
    """
    task, budget = comparison.task, comparison.budget
    steps_per_epoch = len(data.y) / task.mini
    if budget.steps is not None:
        return max(1, math.ceil(budget.steps / steps_per_epoch))
    path = comparison.out / "epochs.json"
    made_for = {
        **comparison.settings(),
        "machine": machine.describe(),
        "extension": machine.extension_hash(),
    }
    if path.exists() and (kept := read_json(path))["key"] == made_for:
        return int(kept["epochs"])
    uniform = Training(task, data, STRATEGIES["uniform"], 0, "always")
    for _ in range(WARM_UP_STEPS):
        uniform.step()
    begin = time.perf_counter()
    for _ in range(PACE_STEPS):
        uniform.step()
    seconds_per_step = (time.perf_counter() - begin) / PACE_STEPS
    assert budget.seconds is not None
    epochs = max(1, round(budget.seconds / seconds_per_step / steps_per_epoch))
    write_json(path, {"key": made_for, "seconds_per_step": seconds_per_step, "epochs": epochs})
    return epochs


def run_one(
    comparison: Comparison, data: Data, strategy: Strategy, seed: int, bar: "tqdm[Any]"
) -> dict[str, Any]:
    """One run from its start, or from where it was interrupted, to its record on disk."""
    training = Training(comparison.task, data, strategy, seed, comparison.start, comparison.epochs)
    checkpoint = path_of(comparison, strategy, seed, "pt")
    restore(training, checkpoint, key(comparison, strategy, seed))
    budget = comparison.budget_of(strategy)
    saved, before = time.monotonic(), bar.n
    while not budget.spent(training.steps, training.seconds):
        training.advance(budget)
        share_done = budget.share(training.steps, training.seconds)
        bar.update(before + min(0.99, share_done) - bar.n)
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            store(training, checkpoint, key(comparison, strategy, seed))
            saved = time.monotonic()
    record = {
        "strategy": strategy.name,
        "seed": seed,
        "key": key(comparison, strategy, seed),
        "importance_steps": training.picker.importance_steps,
        "loss_quantiles": training.loss_quantiles(),
        "split_us": time_split.measure(training),
        "curve": training.curve,
    }
    pictures = dict(training.pictures)
    if training.picker.counts is not None:
        pictures["counts"] = training.picker.counts.counts.numpy()
    arrays = path_of(comparison, strategy, seed, "npz")
    write_atomically(arrays, lambda partial: np.savez_compressed(partial, **pictures))
    # Last: the record's presence says that the run is finished.
    write_json(path_of(comparison, strategy, seed, "json"), record)
    checkpoint.unlink(missing_ok=True)
    return record


def warm_up(comparison: Comparison, data: Data) -> None:
    """A few untimed steps: the first ones of a process start threads and fill caches."""
    for strategy in comparison.strategies:
        if not strategy.row_loop:
            training = Training(comparison.task, data, strategy, 0, "always")
            for _ in range(WARM_UP_STEPS):
                training.step()


def key(comparison: Comparison, strategy: Strategy, seed: int) -> dict[str, Any]:
    """What must agree for a run on disk to stand for this one: settings, machine and build."""
    return {
        **comparison.settings(),
        "strategy": description(comparison, strategy)["made"],
        "seed": seed,
        "machine": machine.describe(),
        "extension": machine.extension_hash(),
    }


def description(comparison: Comparison, strategy: Strategy) -> dict[str, Any]:
    """A strategy as the results tell it: its looks, and what it was made with."""
    task, size = comparison.task, comparison.pool or 1
    rule = strategy.start_rule(comparison.start, task, size)
    made: dict[str, Any] = {"type": "row loop"}
    if strategy.level == "dataset":
        made = parameters_of(make_for_dataset(strategy, size, comparison.epochs, 2, seed=0))
        rule = f"epoch:{made.get('warm_up', 1)}"
    elif not strategy.row_loop:
        nothing = torch.nn.Identity()
        made = parameters_of(make_for_batches(strategy, nothing, task.mini, rule, None, seed=0))
    return {
        "label": strategy.label,
        "colour": strategy.colour,
        "line": strategy.line,
        "level": strategy.level,
        "correction": "none" if rule is None else made.get("correction", "none"),
        "start": rule,
        "made": made,
    }


def path_of(comparison: Comparison, strategy: Strategy, seed: int, suffix: str) -> Path:
    return comparison.out / "runs" / f"{strategy.name}-{seed}.{suffix}"


def finished(comparison: Comparison, strategy: Strategy, seed: int) -> dict[str, Any] | None:
    path = path_of(comparison, strategy, seed, "json")
    if not path.exists():
        return None
    record: dict[str, Any] = read_json(path)
    return record if record["key"] == key(comparison, strategy, seed) else None


def store(training: Training, path: Path, key: dict[str, Any]) -> None:
    state = {"key": key, "training": training.state_dict()}
    write_atomically(path, lambda partial: torch.save(state, partial))


def restore(training: Training, path: Path, key: dict[str, Any]) -> None:
    """Take up an interrupted run, unless it was one with other settings."""
    if not path.exists():
        return
    # Our own file: it holds numpy arrays, which the restricted loader refuses.
    state = torch.load(path, weights_only=False)
    if state["key"] == key:
        training.load_state_dict(state["training"])


def collect(comparison: Comparison, runs: list[dict[str, Any]]) -> dict[str, Any]:
    results = {
        "format": 3,
        "machine": machine.describe(),
        "settings": comparison.settings(),
        "seeds": list(range(comparison.seeds)),
        "strategies": {s.name: description(comparison, s) for s in comparison.strategies},
        "runs": [{k: v for k, v in run.items() if k != "key"} for run in runs],
    }
    results["target"] = target(results, comparison.target)
    results["summary"] = paper_tables.summarise(results)
    results["overview"] = strategies_table.summarise(results)
    return results


def collect_pictures(comparison: Comparison, data: Data) -> dict[str, np.ndarray]:
    """The first seed's snapshots; the most and the least picked digits over all seeds."""
    pictures = {}
    for strategy in comparison.strategies:
        arrays = [
            dict(np.load(path_of(comparison, strategy, seed, "npz")))
            for seed in range(comparison.seeds)
        ]
        if "counts" in arrays[0]:
            counts = np.sum([a["counts"] for a in arrays], axis=0)
            chosen = most_and_least(counts, DIGITS_SHOWN)
            pictures[f"{strategy.name}/counts"] = counts
            pictures[f"{strategy.name}/chosen"] = chosen
            pictures[f"{strategy.name}/images"] = mnist.to_pixels(data.x[chosen])
            pictures[f"{strategy.name}/classes"] = data.y[chosen].numpy()
        else:
            pictures |= {f"{strategy.name}/{name}": a for name, a in arrays[0].items()}
    return pictures


def most_and_least(counts: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k largest counts, then of the k smallest; ties in an arbitrary fixed order."""
    # Thousands of samples are never picked at all: show a mixture, not the first of the file.
    shuffled = np.random.default_rng(0).permutation(len(counts))
    ascending = shuffled[np.argsort(counts[shuffled], kind="stable")]
    return np.concatenate([ascending[::-1][:k], ascending[:k]])
