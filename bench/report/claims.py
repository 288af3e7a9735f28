"""What the papers found beside what the committed results say, by rules that are written down."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import truediv
from statistics import fmean
from typing import Any

from bench.report import balance_table, smedas_table, thresholds_table
from bench.report.results import (
    FEWEST_SEEDS,
    began,
    final_accuracy,
    interval_of_median,
    points_over,
    runs_of,
    share_of,
    share_of_uniform,
)
from bench.report.table import table

Results = dict[str, Any]
Verdict = tuple[str, str]  # what we find, and whether that is the same, or why nothing is said
TOO_FEW, BALANCED = "too few seeds", "the data are balanced"
NEAR_BALANCE = 0.05  # nothing further could be seen to come nearer
FILTERS = {"hard-accuracy", "soft-accuracy", "epochwise"}
TOP = ("highest-loss", "gradient-norm")
CDF = ("highest-loss-cdf", "gradient-norm-cdf")
EARLY = "early-importance"
HEADINGS = ["the paper found", "we find", "the same"]


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, and what decides about it."""

    text: str
    check: Callable[[Results], Verdict]
    about: tuple[str, ...] = ()  # strategies that the results must have


def markdown(claims: list[Claim], results: Results) -> str:
    """The table of those claims that the results can decide, or a sentence that they can none."""
    rows = [
        [claim.text, *decided(claim, results)]
        for claim in claims
        if {*claim.about} <= {*results.get("strategies", ())}
    ]
    if claims and not rows:
        return "These are not the paper's strategies, so that none of its claims is decided here.\n"
    return "\n".join(table(HEADINGS, rows)) + "\n" if rows else ""


def decided(claim: Claim, results: Results) -> Verdict:
    """Nothing, where a strategy that it is about was uniform sampling to the end."""
    text, same = claim.check(results)
    never = [label(results, name) for name in claim.about if not began(results, name)]
    return text, f"never began: {', '.join(never)}" if never else same


def verdict(held: list[bool]) -> str:
    """What to say where a claim is about several."""
    return "yes" if all(held) else "partly" if any(held) else "no"


def mean_accuracy(results: Results, strategy: str) -> float:
    return fmean(final_accuracy(run) for run in runs_of(results, strategy))


def label(results: Results, strategy: str) -> str:
    text: str = results["strategies"][strategy]["label"]
    return text


def sooner(strategies: tuple[str, ...], expected: bool) -> Callable[[Results], Verdict]:
    """Whether all of them reach the target before uniform sampling does, or all of them after it.

    No difference is neither.
    """

    def check(results: Results) -> Verdict:
        shares = {s: share_of_uniform(results, s, results["target"]) for s in strategies}
        told = ", ".join(f"{label(results, s)} {share or '-'}" for s, share in shares.items())
        found = [TOO_FEW if share is None else share.verdict for share in shares.values()]
        held = [word == ("better" if expected else "worse") for word in found]
        return f"of its time: {told}", TOO_FEW if TOO_FEW in found else verdict(held)

    return check


def as_soon_by_steps(pairs: dict[str, str]) -> Callable[[Results], Verdict]:
    """Whether each strategy reaches the target in as many steps as the one it is set beside."""

    def check(results: Results) -> Verdict:
        shares = {
            s: share_of(results, s, other, results["target"], "step") for s, other in pairs.items()
        }
        told = ", ".join(f"{label(results, s)} {share or '-'}" for s, share in shares.items())
        found = [TOO_FEW if share is None else share.verdict for share in shares.values()]
        held = [word == "no difference" for word in found]
        return f"of its steps: {told}", TOO_FEW if TOO_FEW in found else verdict(held)

    return check


def by_points(pairs: dict[str, str], better: bool = True) -> Callable[[Results], Verdict]:
    """Whether each strategy is more accurate at the end than the one it is set beside, or none.

    It is so where the interval of the median over the seeds is above 0.
    """

    def check(results: Results) -> Verdict:
        points = {own: points_over(results, own, other) for own, other in pairs.items()}
        told = ", ".join(f"{label(results, own)} {spread(p)}" for own, p in points.items())
        held = [(interval_of_median(p)[0] > 0) == better for p in points.values()]
        too_few = min(map(len, points.values())) < FEWEST_SEEDS
        return f"points at the end: {told}", TOO_FEW if too_few else verdict(held)

    return check


def spread(points: list[float]) -> str:
    """Their mean and their range."""
    text = f"{round(fmean(points), 2) + 0.0:+.2f}"  # no negative zero
    return f"{text} ({min(points):+.2f} to {max(points):+.2f})" if len(points) > 1 else text


def every_threshold_wins(results: Results) -> Verdict:
    pairs = [(s, t) for s, own in thresholds_table.studied(results).items() for t in own]
    uniform = mean_accuracy(results, "uniform")
    above = [mean_accuracy(results, thresholds_table.name_of(*p)) > uniform for p in pairs]
    return f"{sum(above)} of {len(pairs)} do", verdict(above)


def smallest_is_latest(results: Results) -> Verdict:
    """Partly, where others do so as late."""
    times = thresholds_table.times(results)
    last = thresholds_table.latest(times)
    told = f"the latest {'is' if len(last) == 1 else 'are'} {thresholds_table.listed(last)}"
    return told, verdict([threshold == min(times) for threshold in last])


def filter_is_below_uniform(results: Results) -> Verdict:
    count, below = compare_filters(results, "accuracy")
    return f"{below} of {count} filters are", verdict([2 * below > count])


def filter_has_lower_worst(results: Results) -> Verdict:
    count, below = compare_filters(results, "worst")
    return f"{below} of {count} filters do", verdict([2 * below > count])


def compare_filters(results: Results, metric: str) -> tuple[int, int]:
    """How many filters were tried, and how many are below uniform sampling on the test set."""
    pairs = [
        (
            smedas_table.mean(runs, "test", metric),
            smedas_table.mean(ways["uniform"], "test", metric),
        )
        for ways in smedas_table.kinds(results).values()
        for way, runs in ways.items()
        if "uniform" in ways and {*way.split("+")} <= FILTERS
    ]
    return len(pairs), sum(own < uniform for own, uniform in pairs)


def classes_balance(results: Results) -> Verdict:
    before = balance_table.distance(results["classes"]["shares"])
    if before < NEAR_BALANCE:
        return f"their distance from balance is {before:.2f}", BALANCED
    after = balance_table.distance(balance_table.picked_shares(results, EARLY)[-1])
    text = f"the distance from balance goes from {before:.2f} to {after:.2f}"
    return text, "no" if after >= before else "yes" if after < 0.1 * before else "partly"


def more_accurate(results: Results) -> Verdict:
    """Partly, where seeds do not agree."""
    points = points_over(results, EARLY, "uniform")
    too_few = len(points) < FEWEST_SEEDS
    seconds = (
        fmean(run["curve"]["seconds"][-1] for run in runs_of(results, name))
        for name in (EARLY, "uniform")
    )
    return (
        f"{spread(points)} points in {truediv(*seconds):.2f} of uniform sampling's time",
        TOO_FEW if too_few else verdict([value > 0 for value in points]),
    )


SOONER = "highest loss and highest loss CDF reach uniform sampling's accuracy sooner"
SLOW = "gradient norm does so late, since it takes so long to compute"
AS_GOOD = "by steps, gradient norm is as good as the loss"
BY_LOSS, BY_NORM = ("highest-loss", "highest-loss-cdf"), ("gradient-norm", "gradient-norm-cdf")
PAPER = ("uniform", *TOP, *CDF)
NONE_BEATS_UNIFORM = by_points(dict.fromkeys((*TOP, *CDF), "uniform"), better=False)
CDF_BEATS_UNIFORM = by_points(dict.fromkeys(CDF, "uniform"))
NORM_IS_LOSS = as_soon_by_steps(dict(zip(BY_NORM, BY_LOSS, strict=True)))
CDF_BEATS_TOP = by_points(dict(zip(CDF, TOP, strict=True)))
SMALLEST = "the smallest threshold does so the latest"
SOONER_OR_LATE = [
    Claim(SOONER, sooner(BY_LOSS, expected=True), ("uniform", *BY_LOSS)),
    Claim(SLOW, sooner(BY_NORM, expected=False), ("uniform", *BY_NORM)),
    Claim(AS_GOOD, NORM_IS_LOSS, PAPER),
]
BALANCE = [
    Claim("classes balance by themselves", classes_balance, (EARLY,)),
    Claim("accuracy is higher at little cost", more_accurate, (EARLY, "uniform")),
]
# By the name of the result that decides them.
CLAIMS = {
    "two-circles": SOONER_OR_LATE,
    "mnist": SOONER_OR_LATE,
    "mnist-strategies-tuned": SOONER_OR_LATE,
    "cifar10": [
        Claim("none beats uniform sampling", NONE_BEATS_UNIFORM, PAPER),
        Claim("CDF is better than top-n", CDF_BEATS_TOP, PAPER),
    ],
    "patch-camelyon": [
        Claim("CDF is better than top-n", CDF_BEATS_TOP, PAPER),
        Claim("CDF is better than uniform sampling", CDF_BEATS_UNIFORM, PAPER),
    ],
    "two-circles-thresholds": [
        Claim("all beat uniform sampling in the end", every_threshold_wins),
        Claim(SMALLEST, smallest_is_latest),
    ],
    "smedas": [
        Claim("accuracy filters are usually less accurate than SGD", filter_is_below_uniform),
        Claim("their worst loss is lower", filter_has_lower_worst),
    ],
    "mnist-balance": BALANCE,
    "cifar10-balance": BALANCE,
}
