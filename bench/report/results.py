"""What a comparison's results hold, and the numbers that are computed from the curve of a run.

Accuracy is smoothed before it is judged: the mean of the last three evaluations. A single
evaluation jumps up and down between steps, and the first lucky one would flatter a noisy strategy.
"""

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, ClassVar, Literal, TypeVar, get_args

import numpy as np

from bench.tasks import TASKS

# Of a step, each with its time. "second_model" is a strategy's own model, called and trained.
STAGES = ("forward", "select", "second_model", "gather", "train", "other")
QUANTILES = (0.5, 0.9, 0.99, 1.0)  # of the test set's losses; the last one is the worst
COMPILED, DECAYED = "-compiled", "-decayed"  # what a strategy's name may end in, in this order
BASELINES = ("uniform", "random-subset", "rs2", "random-pruning")  # look at no sample
DEFAULT = "gradient-norm-cdf-unbiased"  # what a Selector is without arguments
ROW_LOOP = "gradient-norm-cdf-loop"  # makes too few steps for what is said about all runs
WINDOW = 3  # evaluations averaged
LONG = 3  # times a task's own budget

RESAMPLES = 9_999
SEEDS_OF_A_RANGE = 5  # of so many seeds or fewer, the interval of the median is their range
FEWEST_SEEDS = 3  # that say anything

Run = dict[str, Any]
Unit = Literal["step", "seconds"]
UNITS = get_args(Unit)


def runs_of(results: dict[str, Any], strategy: str) -> list[Run]:
    return [run for run in results["runs"] if run["strategy"] == strategy]


def is_baseline(strategy: str) -> bool:
    """Whether it looks at no sample to choose, however it is trained."""
    return strategy.removesuffix(DECAYED).removesuffix(COMPILED) in BASELINES


def began(results: dict[str, Any], strategy: str) -> bool:
    """Whether it ever chose rows, or has none to choose: a start rule may not have let it."""
    return is_baseline(strategy) or any(
        run["importance_steps"] for run in runs_of(results, strategy)
    )


def number_of_seeds(results: dict[str, Any]) -> str:
    count = len(results["seeds"])
    return f"{count} seeds" if count > 1 else "1 seed"


def smoothed(accuracy: list[float]) -> list[float]:
    """Trailing means; entry i covers evaluations i - WINDOW + 1 .. i, fewer at the beginning."""
    return [fmean(accuracy[max(0, i + 1 - WINDOW) : i + 1]) for i in range(len(accuracy))]


def final_accuracy(run: Run) -> float:
    return smoothed(run["curve"]["accuracy"])[-1]


def highest_accuracy(run: Run) -> float:
    """Of the full windows, where there are any."""
    means = smoothed(run["curve"]["accuracy"])
    return max(means[WINDOW - 1 :] or means)


def task_title(results: dict[str, Any]) -> str:
    """The task, and where its data are not the original."""
    settings = results["settings"]
    source = settings.get("source")
    return f"{settings['task']} ({source})" if source else str(settings["task"])


def is_long(settings: dict[str, Any]) -> bool:
    """Whether each run has several times the task's own budget."""
    task, budget = TASKS.get(settings["task"]), settings.get("budget")
    if task is None or budget is None:
        return False
    pairs = ((getattr(task.budget, unit), given) for unit, given in budget.items())
    return any(own and given and given >= LONG * own for own, given in pairs)


def target(results: dict[str, Any], chosen: float | None = None) -> float | None:
    """`chosen`, or what uniform sampling has at its end with every seed, if it ran."""
    if chosen is not None:
        return chosen
    return min(map(final_accuracy, runs_of(results, "uniform")), default=None)


def first_reaching(run: Run, accuracy: float) -> tuple[int, float] | None:
    """(step, seconds) of the first full window whose mean is at least `accuracy`."""
    curve = run["curve"]
    for i, value in enumerate(smoothed(curve["accuracy"])):
        if i + 1 >= WINDOW and value >= accuracy:
            return curve["step"][i], curve["seconds"][i]
    return None


Of = TypeVar("Of", bound="OverSeeds")


@dataclass(frozen=True)
class OverSeeds:
    """A median over the seeds and its interval, which says something where EVEN is not in it."""

    median: float
    low: float
    high: float
    seeds: int

    EVEN: ClassVar[float]
    MORE: ClassVar[str]  # what it is above that, and below
    LESS: ClassVar[str]

    @classmethod
    def of(cls: "type[Of]", values: list[float]) -> "Of":
        return cls(median(values), *interval_of_median(values), len(values))

    @property
    def verdict(self) -> str:
        """What it says: whether the interval lies on one side of EVEN."""
        if self.seeds < FEWEST_SEEDS:
            return "too few seeds"
        if self.low > self.EVEN:
            return self.MORE
        return self.LESS if self.high < self.EVEN else "no difference"

    @property
    def word(self) -> str:
        """The same with the number of seeds, where these are few."""
        few = FEWEST_SEEDS <= self.seeds <= SEEDS_OF_A_RANGE
        return f"{self.verdict} ({self.seeds} seeds)" if few else self.verdict


class Share(OverSeeds):
    """What a strategy takes to a target over what another one takes, seed by seed.

    Only seeds with which the other one reaches it count, which is to its advantage; a run that does
    not has an infinite share.
    """

    EVEN, MORE, LESS = 1.0, "worse", "better"

    def __str__(self) -> str:
        if self.median == math.inf:
            return "not reached"
        text = f"{self.median:.2f}"
        return text if self.seeds == 1 else f"{text} ({self.low:.2f} to {bound(self.high)})"


class Points(OverSeeds):
    """By how many points of accuracy a strategy ends above another one, seed by seed."""

    EVEN, MORE, LESS = 0.0, "better", "worse"

    def __str__(self) -> str:
        text = f"{round(self.median, 2) + 0.0:+.2f}"  # no negative zero
        return text if self.seeds == 1 else f"{text} ({self.low:+.2f} to {self.high:+.2f})"


def bound(share: float) -> str:
    return "never" if share == math.inf else f"{share:.2f}"


def interval_of_median(values: list[float]) -> tuple[float, float]:
    """The 95% percentile bootstrap; of SEEDS_OF_A_RANGE values or fewer it is their range.

    Its ends are order statistics, since nothing lies between a number and an infinite one.
    """
    resamples = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    medians = np.sort(np.median(resamples, axis=1))
    tail = round(0.025 * (RESAMPLES + 1))
    return float(medians[tail - 1]), float(medians[-tail])


def share_of(
    results: dict[str, Any], strategy: str, other: str, accuracy: float, unit: Unit = "seconds"
) -> Share | None:
    """What a strategy takes over what the other one does; None if that never reaches the target."""
    taken = {
        name: {run["seed"]: cost_of(run, accuracy, unit) for run in runs_of(results, name)}
        for name in (strategy, other)
    }
    shares = [
        cost / others
        for seed, cost in taken[strategy].items()
        if (others := taken[other].get(seed, math.inf)) < math.inf
    ]
    return Share.of(shares) if shares else None


def points_over(results: dict[str, Any], strategy: str, other: str) -> list[float]:
    """By how many points a strategy ends above another one, with each seed of both."""
    ours, theirs = (
        {run["seed"]: final_accuracy(run) for run in runs_of(results, name)}
        for name in (strategy, other)
    )
    return [100 * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs]


def cost_of(run: Run, accuracy: float, unit: Unit) -> float:
    """The steps or seconds of a run to an accuracy; infinite if it does not reach it."""
    hit = first_reaching(run, accuracy)
    return math.inf if hit is None else hit[UNITS.index(unit)]


def share_of_uniform(
    results: dict[str, Any], strategy: str, accuracy: float, unit: Unit = "seconds"
) -> Share | None:
    """None for uniform sampling itself, or if it does not reach the target with any seed."""
    if strategy == "uniform":
        return None
    return share_of(results, strategy, "uniform", accuracy, unit)


def band(
    runs: list[Run], against: str, quantity: str, moments: int
) -> tuple[np.ndarray, np.ndarray]:
    """Moments [moments] that all runs have, and the smoothed curve of each [runs, moments]."""
    curves = [(run["curve"][against], smoothed(run["curve"][quantity])) for run in runs]
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    grid = np.linspace(begin, end, moments)
    return grid, np.stack([np.interp(grid, x, y) for x, y in curves])


def at_time(run: Run, seconds: float) -> float | None:
    """The smoothed accuracy at a moment of the training time."""
    return between(run["curve"]["seconds"], smoothed(run["curve"]["accuracy"]), seconds)


def at_step(run: Run, step: float) -> float | None:
    """The accuracy at a step, as it is.

    Not smoothed: where evaluations are equally far apart in time they are not in steps, and a
    window of more steps would lag behind more.
    """
    return between(run["curve"]["step"], run["curve"]["accuracy"], step)


def between(moments: list[float], values: list[float], moment: float) -> float | None:
    """Interpolated; None after the last moment, and the first value before the first one."""
    return float(np.interp(moment, moments, values)) if moment <= moments[-1] else None
