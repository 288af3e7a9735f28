"""The tables of Smedås (2021): accuracy and losses on both sets, their ratios, and the thesis's."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from bench.report.machine import measured_on
from bench.report.results import number_of_seeds
from bench.report.table import table

UNIFORM = "uniform"
METRICS = {
    "accuracy": "accuracy",
    "mean": "mean loss",
    "quantile": "loss 0.9",
    "worst": "worst loss",
}
SPLITS = ("test", "train")
Kind = tuple[str, str, int]  # data set, network, batch size
Run = dict[str, Any]
# The thesis's test accuracy by plain SGD and by an accuracy filter, where we know it; we take
# that on CIFAR-100 to be of the same network and batches.
PUBLISHED: dict[Kind, dict[str, float]] = {
    ("cifar10", "resnet18", 1024): {UNIFORM: 0.849, "hard-accuracy": 0.787},
    ("cifar100", "resnet18", 1024): {UNIFORM: 0.512, "hard-accuracy": 0.560},
}


def kinds(results: dict[str, Any]) -> dict[Kind, dict[str, list[Run]]]:
    """The runs of each kind, by the way that was chosen, in the order of the results."""
    found: dict[Kind, dict[str, list[Run]]] = {}
    for run in results["runs"]:
        data, network, batch, way = run["strategy"].split("/")
        found.setdefault((data, network, int(batch)), {}).setdefault(way, []).append(run)
    return found


def markdown(results: dict[str, Any]) -> str:
    """A table for each kind, what they say together, and the machine."""
    settings = results["settings"]
    lines = [
        f"{settings['optimizer']} with a learning rate of {settings['learning_rate']:g}, "
        f"{settings['epochs']} epochs. In brackets the ratio to uniform sampling's. "
        f"{finding(results)}",
    ]
    for kind, runs in kinds(results).items():
        published = PUBLISHED.get(kind, {})
        beside = ["the thesis's"] if published else []
        headings = [*HEADINGS[:2], *beside, *HEADINGS[2:]]
        lines += ["", title(results, kind) + ":", "", *table(headings, list(rows(runs, published)))]
    device = settings["device"]
    on = "" if device == "cpu" else f"{device}, "
    lines += ["", f"Trained on {on}{measured_on(results)}."]
    return "\n".join(lines) + "\n"


HEADINGS = [
    "chosen",
    *(f"{split} {name}" for split in SPLITS for name in METRICS.values()),
    *(f"train / test {name}" for name in METRICS.values()),
    "steps",
    "time",
]


def title(results: dict[str, Any], kind: Kind) -> str:
    data, network, batch = kind
    source, pool = results["settings"]["sources"][data], results["settings"]["pool"]
    return (
        f"{data}{f' ({source})' if source else ''}, {network}, batches of {batch}"
        f"{f', {pool:,} training samples' if pool else ''}, "
        f"mean of {number_of_seeds(results)}"
    )


def rows(runs: dict[str, list[Run]], published: dict[str, float]) -> Iterator[list[str]]:
    for way, own in runs.items():
        accuracy, *others = (
            cell(mean(own, split, metric), runs, way, split, metric)
            for split in SPLITS
            for metric in METRICS
        )
        beside = [f"{published[way]:.3f}" if way in published else "-"] if published else []
        ratios = (ratio(mean(own, "train", m), mean(own, "test", m)) for m in METRICS)
        steps, seconds = (fmean(run["curve"][q][-1] for run in own) for q in ("step", "seconds"))
        yield [way, accuracy, *beside, *others, *ratios, f"{steps:.0f}", f"{seconds:.1f} s"]


def cell(value: float, runs: dict[str, list[Run]], way: str, split: str, metric: str) -> str:
    text = f"{value:.3f}" if metric == "accuracy" else f"{value:.3g}"
    if way == UNIFORM or UNIFORM not in runs:
        return text
    return f"{text} ({ratio(value, mean(runs[UNIFORM], split, metric))})"


def ratio(value: float, other: float) -> str:
    if not other:
        return "-"
    share = value / other
    return f"{share:.2f}" if share < 100 else f"{share:.2g}"


def mean(runs: list[Run], split: str, metric: str) -> float:
    return fmean(run[split][metric] for run in runs)


def finding(results: dict[str, Any]) -> str:
    """How often the ways to choose are above uniform sampling, and have a lower worst loss."""
    above, below, count = 0, 0, 0
    for runs in kinds(results).values():
        if UNIFORM not in runs:
            continue
        for way, own in runs.items():
            if way != UNIFORM:
                count += 1
                above += mean(own, "test", "accuracy") > mean(runs[UNIFORM], "test", "accuracy")
                below += mean(own, "test", "worst") < mean(runs[UNIFORM], "test", "worst")
    return (
        f"Of {count} choices, {above} have a higher test accuracy than uniform sampling, and "
        f"{below} a lower worst loss on the test set."
    )
