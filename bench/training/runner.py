"""All runs of a comparison: in order, resumable, with what they leave on disk.

DIR/runs/STRATEGY-SEED.json   a finished run; .npz beside it holds its arrays
DIR/runs/STRATEGY-SEED.pt     a run that was interrupted
DIR/epochs.json               how many epochs data-set level strategies plan for
DIR/results.json, DIR/pictures.npz   everything, once all runs are there
"""

import math
import sys
import time
from collections import deque
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
from bench.training.stream import Shuffled

CHECKPOINT_SECONDS = 30.0
WARM_UP_STEPS = 20
PACE_STEPS = 200  # of uniform sampling, timed to say how many epochs fit into a time budget


def run_all(comparison: Comparison, data: Data) -> dict[str, Any]:
    """Make every run that is not on disk yet; write and return the results."""
    task = comparison.task
    default_pool = task.epoch_pool if comparison.has_dataset_level else len(data.y)
    data = data.first(comparison.pool or default_pool).with_rare_classes(comparison.rare_classes)
    data = data.with_wrong_labels(comparison.wrong_labels)
    comparison = replace(comparison, pool=len(data.y))
    if comparison.has_dataset_level:
        comparison = replace(comparison, epochs=epochs_to_plan(comparison, data))
    size = len(comparison.strategies)
    from_disk, warmed_up = 0, False
    runs: list[dict[str, Any]] = []
    with tqdm(total=comparison.seeds * size, unit="run", disable=None) as bar:
        for seed in comparison.seed_numbers:
            bar.set_description(f"seed {seed}")
            done = {s.name: finished(comparison, s, seed) for s in comparison.strategies}
            missing = [s for s in comparison.strategies if done[s.name] is None]
            from_disk += size - len(missing)
            if missing and not warmed_up:
                warm_up(comparison, data)
                warmed_up = True
            bar.update(size - len(missing))
            begin = len(runs) + size - len(missing)
            made = run_in_turns(comparison, data, seed, missing, bar, begin)
            runs += [made.get(s.name) or done[s.name] for s in comparison.strategies]
    if from_disk:
        print(f"{from_disk} of {len(runs)} runs taken from {comparison.out / 'runs'}")
    results = collect(comparison, data, runs)
    write_json(comparison.out / "results.json", results)
    pictures = collect_pictures(comparison, data)
    path = comparison.out / "pictures.npz"
    write_atomically(path, lambda partial: np.savez_compressed(partial, **pictures))
    return results


def run_until_stopped(comparison: Comparison, data: Data) -> dict[str, Any]:
    """The same; SystemExit that says how to go on, where it is interrupted from the keyboard."""
    try:
        return run_all(comparison, data)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command continues from {comparison.out}", file=sys.stderr)
        raise SystemExit(130) from None


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


def run_in_turns(
    comparison: Comparison,
    data: Data,
    seed: int,
    strategies: list[Strategy],
    bar: "tqdm[Any]",
    begin: int,
) -> dict[str, dict[str, Any]]:
    """The records of a seed's runs, which train in turns from one evaluation to the next.

    A machine that slows down for a while then slows down all of them. ``begin`` runs are done.
    """
    shuffled = Shuffled(data, seed)
    waiting = deque(Run(comparison, shuffled, strategy, seed) for strategy in strategies)
    shares = {strategy.name: 0.0 for strategy in strategies}
    records: dict[str, dict[str, Any]] = {}
    while waiting:
        run = waiting.popleft()
        name = run.strategy.name
        if run.advance():
            waiting.append(run)
        else:
            records[name] = run.finish()
            if bar.disable:  # no terminal: lines instead
                line = outcome(run.strategy, seed, records[name])
                print(f"{begin + len(records)} of {bar.total} runs: {line}", file=sys.stderr)
        shares[name] = run.share
        bar.update(begin + sum(shares.values()) - bar.n)
    return records


class Run:
    """A run under way, from its start or from where it was interrupted, to its record on disk."""

    def __init__(
        self, comparison: Comparison, shuffled: Shuffled, strategy: Strategy, seed: int
    ) -> None:
        self.strategy, self.seed = strategy, seed
        self.key = comparison.key(strategy, seed)
        self.budget = comparison.budget_of(strategy)
        self.paths = {
            suffix: comparison.path_of(strategy, seed, suffix) for suffix in ("pt", "npz", "json")
        }
        self.training = Training(
            comparison.task,
            shuffled.data,
            strategy,
            seed,
            comparison.start,
            comparison.epochs,
            comparison.rate_of(strategy),
            shuffled,
        )
        if strategy.fast or self.training.compiled:
            self.training.warm_up()
        restore(self.training, self.paths["pt"], self.key)
        self.saved = time.monotonic()
        self.random_state = torch.get_rng_state()

    @property
    def share(self) -> float:
        """How much of the budget is spent, 1 at its end."""
        return min(1.0, self.budget.share(self.training.steps, self.training.seconds))

    def advance(self) -> bool:
        """Trains until the next evaluation; whether there is more to do."""
        torch.set_rng_state(self.random_state)
        # One that was interrupted at its end has no more to do; one whose strategy has taken all of
        # the time to prepare is evaluated once.
        if self.share < 1 or not self.training.curve["step"]:
            self.training.advance(self.budget)
        if time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            store(self.training, self.paths["pt"], self.key)
            self.saved = time.monotonic()
        self.random_state = torch.get_rng_state()
        return self.share < 1

    def finish(self) -> dict[str, Any]:
        """The record, which is on disk then."""
        training = self.training
        record = {
            "strategy": self.strategy.name,
            "seed": self.seed,
            "key": self.key,
            "commit": machine.commit(),
            "importance_steps": training.picker.importance_steps,
            "loss_quantiles": training.loss_quantiles(),
            "split_us": time_split.measure(training),
            "curve": training.curve,
        }
        pictures = dict(training.pictures)
        if training.picker.counts is not None:
            pictures["counts"] = training.picker.counts.counts.numpy()
        write_atomically(
            self.paths["npz"], lambda partial: np.savez_compressed(partial, **pictures)
        )
        # Last: the record's presence says that the run is finished.
        write_json(self.paths["json"], record)
        self.paths["pt"].unlink(missing_ok=True)
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
    state = {"key": key, "training": training.state_dict(), "random": torch.get_rng_state()}
    write_atomically(path, lambda partial: torch.save(state, partial))


def restore(training: Training, path: Path, key: dict[str, Any]) -> None:
    """Take up an interrupted run, unless it was one with other settings."""
    if not path.exists():
        return
    # Our own file: it holds numpy arrays, which the restricted loader refuses.
    state = torch.load(path, weights_only=False)
    if state["key"] == key:
        training.load_state_dict(state["training"])
        torch.set_rng_state(state["random"])  # of dropout
