"""All runs of a comparison: in order, resumable, with what they leave on disk.

DIR/runs/STRATEGY-SEED.json   a finished run; .npz beside it holds its arrays
DIR/runs/STRATEGY-SEED.pt     a run that was interrupted
DIR/epochs.json               how many epochs data-set level strategies plan for
DIR/results.json, DIR/pictures.npz   everything, once all runs are there
"""

import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench.report import machine
from bench.report.files import read_json, write_atomically, write_json
from bench.report.results import final_accuracy
from bench.tasks.task import Data
from bench.training import time_split
from bench.training.collecting import collect, collect_pictures
from bench.training.comparison import Comparison
from bench.training.run import Training
from bench.training.strategies import STRATEGIES, Strategy

CHECKPOINT_SECONDS = 10.0
WARM_UP_STEPS = 20
PACE_STEPS = 200  # of uniform sampling, timed to say how many epochs fit into a time budget


def run_all(comparison: Comparison, data: Data) -> dict[str, Any]:
    """Make every run that is not on disk yet; write and return the results."""
    task = comparison.task
    default_pool = task.epoch_pool if comparison.has_dataset_level else len(data.y)
    data = data.first(comparison.pool or default_pool).with_wrong_labels(comparison.wrong_labels)
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
    results = collect(comparison, data, runs)
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
    training = Training(
        comparison.task,
        data,
        strategy,
        seed,
        comparison.start,
        comparison.epochs,
        comparison.rate_of(strategy),
    )
    if strategy.fast or comparison.task.compiled:
        training.warm_up()
    checkpoint = comparison.path_of(strategy, seed, "pt")
    restore(training, checkpoint, comparison.key(strategy, seed))
    budget = comparison.budget_of(strategy)
    saved, before = time.monotonic(), bar.n
    while not budget.spent(training.steps, training.seconds):
        training.advance(budget)
        share_done = budget.share(training.steps, training.seconds)
        bar.update(before + min(0.99, share_done) - bar.n)
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            store(training, checkpoint, comparison.key(strategy, seed))
            saved = time.monotonic()
    record = {
        "strategy": strategy.name,
        "seed": seed,
        "key": comparison.key(strategy, seed),
        "importance_steps": training.picker.importance_steps,
        "loss_quantiles": training.loss_quantiles(),
        "split_us": time_split.measure(training),
        "curve": training.curve,
    }
    pictures = dict(training.pictures)
    if training.picker.counts is not None:
        pictures["counts"] = training.picker.counts.counts.numpy()
    arrays = comparison.path_of(strategy, seed, "npz")
    write_atomically(arrays, lambda partial: np.savez_compressed(partial, **pictures))
    # Last: the record's presence says that the run is finished.
    write_json(comparison.path_of(strategy, seed, "json"), record)
    checkpoint.unlink(missing_ok=True)
    return record


def warm_up(comparison: Comparison, data: Data) -> None:
    """A few untimed steps: the first ones of a process start threads and fill caches."""
    for strategy in comparison.strategies:
        if not strategy.row_loop:
            training = Training(comparison.task, data, strategy, 0, "always")
            for _ in range(WARM_UP_STEPS):
                training.step()


def finished(comparison: Comparison, strategy: Strategy, seed: int) -> dict[str, Any] | None:
    path = comparison.path_of(strategy, seed, "json")
    if not path.exists():
        return None
    record: dict[str, Any] = read_json(path)
    return record if record["key"] == comparison.key(strategy, seed) else None


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
