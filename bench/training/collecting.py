"""The results and the pictures of a comparison, put together from those of its runs."""

from typing import Any

import numpy as np
import torch

from bench.report import machine
from bench.report.results import target
from bench.tasks.task import Data
from bench.training.comparison import Comparison

SHOWN = 40  # of the most and of the least picked


def collect(comparison: Comparison, data: Data, runs: list[dict[str, Any]]) -> dict[str, Any]:
    results = {
        "format": 3,
        "machine": machine.describe(),
        "commits": list(dict.fromkeys(run.get("commit") for run in runs)),
        "settings": comparison.settings() | {"source": data.source},
        "seeds": list(comparison.seed_numbers),
        "tuning": comparison.tuning,
        "strategies": {s.name: comparison.description(s) for s in comparison.strategies},
        "runs": [{k: v for k, v in run.items() if k != "key"} for run in runs],
    }
    if comparison.task.count_classes:
        shares = torch.bincount(data.y, minlength=data.classes) / len(data.y)
        results["classes"] = {
            "names": [comparison.task.name_of_class(i) for i in range(data.classes)],
            "shares": [round(share, 6) for share in shares.tolist()],
        }
    results["target"] = target(results, *comparison.targets[:1])
    results["more_targets"] = list(comparison.targets[1:])
    return results


def collect_pictures(comparison: Comparison, data: Data) -> dict[str, np.ndarray]:
    """The first seed's snapshots; the most and the least picked pictures over all seeds."""
    task = comparison.task
    pictures = {}
    for strategy in comparison.strategies:
        arrays = [
            dict(np.load(comparison.path_of(strategy, seed, "npz")))
            for seed in comparison.seed_numbers
        ]
        if "counts" in arrays[0]:
            counts = np.sum([a["counts"] for a in arrays], axis=0)
            chosen = most_and_least(counts, SHOWN)
            pictures[f"{strategy.name}/counts"] = counts
            pictures[f"{strategy.name}/chosen"] = chosen
            if task.to_pixels is not None:
                classes = data.y[chosen].tolist()
                names = [task.name_of_class(i) for i in classes]
                pictures[f"{strategy.name}/images"] = task.to_pixels(data.x[chosen])
                pictures[f"{strategy.name}/classes"] = np.asarray(names)
        else:
            pictures |= {f"{strategy.name}/{name}": a for name, a in arrays[0].items()}
    return pictures


def most_and_least(counts: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k largest counts, then of the k smallest; ties in an arbitrary fixed order."""
    # Thousands of samples are never picked at all: show a mixture, not the first of the file.
    shuffled = np.random.default_rng(0).permutation(len(counts))
    ascending = shuffled[np.argsort(counts[shuffled], kind="stable")]
    return np.concatenate([ascending[::-1][:k], ascending[:k]])
