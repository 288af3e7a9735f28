"""What the papers found beside what the committed results say, by rules that are written down."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import truediv
from statistics import fmean
from typing import Any

from bench.report import balance_table, smedas_table, thresholds_table
from bench.report.results import final_accuracy, runs_of, share_of_uniform, task_title
from bench.report.table import table

Results = dict[str, Any]
Verdict = tuple[str, str]  # what we find, and whether that is the same: "yes", "no" or "partly"
TOP = ("highest-loss", "gradient-norm")
CDF = ("highest-loss-cdf", "gradient-norm-cdf")
EARLY = "early-importance"
HEADINGS = ["data", "the paper found", "we find", "the same"]


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, and what decides about it."""

    result: str  # the name of its file
    text: str
    check: Callable[[Results], Verdict]
    about: tuple[str, ...] = ()  # strategies that the results must have


def markdown(claims: list[Claim], read: Callable[[str], Results | None]) -> str:
    """The table of those claims whose results are there; empty if none is."""
    rows = []
    for claim in claims:
        results = read(claim.result)
        if results is not None and {*claim.about} <= {*results.get("strategies", ())}:
            title = task_title(results) if "task" in results["settings"] else claim.result
            rows.append([title, claim.text, *claim.check(results)])
    return "\n".join(table(HEADINGS, rows)) + "\n" if rows else ""


def verdict(held: list[bool]) -> str:
    """What to say where a claim is about several."""
    return "yes" if all(held) else "partly" if any(held) else "no"


def mean_accuracy(results: Results, strategy: str) -> float:
    return fmean(final_accuracy(run) for run in runs_of(results, strategy))


def label(results: Results, strategy: str) -> str:
    text: str = results["strategies"][strategy]["label"]
    return text


def sooner(strategies: tuple[str, ...], expected: bool) -> Callable[[Results], Verdict]:
    """Whether all of them reach uniform sampling's final accuracy before it does."""

    def check(results: Results) -> Verdict:
        shares = {s: share_of_uniform(results, s, results["target"]) for s in strategies}
        told = ", ".join(f"{label(results, s)} {share}" for s, share in shares.items())
        held = [(s is not None and s.median < 1) == expected for s in shares.values()]
        return f"of its time: {told}", verdict(held)

    return check


def by_points(pairs: dict[str, str], better: bool = True) -> Callable[[Results], Verdict]:
    """Whether each strategy is more accurate at the end than the one it is set beside, or none."""

    def check(results: Results) -> Verdict:
        points = {
            own: 100 * (mean_accuracy(results, own) - mean_accuracy(results, other))
            for own, other in pairs.items()
        }
        told = ", ".join(f"{label(results, own)} {value:+.1f}" for own, value in points.items())
        return f"points at the end: {told}", verdict([(v > 0) == better for v in points.values()])

    return check


def every_threshold_wins(results: Results) -> Verdict:
    pairs = [(s, t) for s, own in thresholds_table.studied(results).items() for t in own]
    uniform = mean_accuracy(results, "uniform")
    above = [mean_accuracy(results, thresholds_table.name_of(*p)) > uniform for p in pairs]
    return f"{sum(above)} of {len(pairs)} do", verdict(above)


def smallest_is_latest(results: Results) -> Verdict:
    times = thresholds_table.times(results)
    last = max(times, key=times.__getitem__)
    return f"the latest is {last:g}", verdict([last == min(times)])


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
        if way != "uniform"
    ]
    return len(pairs), sum(own < uniform for own, uniform in pairs)


def classes_balance(results: Results) -> Verdict:
    before = balance_table.distance(results["classes"]["shares"])
    after = balance_table.distance(balance_table.picked_shares(results, EARLY)[-1])
    text = f"the distance from balance goes from {before:.2f} to {after:.2f}"
    return text, "no" if after >= before else "yes" if after < 0.1 * before else "partly"


def more_accurate(results: Results) -> Verdict:
    """Partly, where seeds do not agree."""
    early, uniform = ({r["seed"]: r for r in runs_of(results, s)} for s in (EARLY, "uniform"))
    points = [100 * (final_accuracy(early[s]) - final_accuracy(uniform[s])) for s in uniform]
    seconds = (
        fmean(run["curve"]["seconds"][-1] for run in runs.values()) for runs in (early, uniform)
    )
    span = f" ({min(points):+.2f} to {max(points):+.2f})" if len(points) > 1 else ""
    return (
        f"{fmean(points):+.2f}{span} points in {truediv(*seconds):.2f} of uniform sampling's time",
        verdict([value > 0 for value in points]),
    )


SOONER = "highest loss and highest loss CDF reach uniform sampling's accuracy sooner"
SLOW = "gradient norm does so late, since it takes so long to compute"
BY_LOSS, BY_NORM = ("highest-loss", "highest-loss-cdf"), ("gradient-norm", "gradient-norm-cdf")
PAPER = ("uniform", *TOP, *CDF)
NONE_BEATS_UNIFORM = by_points(dict.fromkeys((*TOP, *CDF), "uniform"), better=False)
CDF_BEATS_UNIFORM = by_points(dict.fromkeys(CDF, "uniform"))
CDF_BEATS_TOP = by_points(dict(zip(CDF, TOP, strict=True)))
KNUTSSON = [
    *(
        claim
        for task in ("two-circles", "mnist-strategies")
        for claim in (
            Claim(task, SOONER, sooner(BY_LOSS, expected=True), BY_LOSS),
            Claim(task, SLOW, sooner(BY_NORM, expected=False), BY_NORM),
        )
    ),
    Claim("cifar10", "none beats uniform sampling", NONE_BEATS_UNIFORM, PAPER),
    Claim("cifar10", "CDF is far better than top-n", CDF_BEATS_TOP, PAPER),
    Claim("patch-camelyon", "CDF is better than top-n", CDF_BEATS_TOP, PAPER),
    Claim("patch-camelyon", "CDF is better than uniform sampling", CDF_BEATS_UNIFORM, PAPER),
    Claim("two-circles-thresholds", "all beat uniform sampling in the end", every_threshold_wins),
    Claim(
        "two-circles-thresholds", "the smallest threshold does so the latest", smallest_is_latest
    ),
]
SMEDAS = [
    Claim("smedas", "accuracy filters are usually less accurate than SGD", filter_is_below_uniform),
    Claim("smedas", "their worst loss is lower", filter_has_lower_worst),
]
QUERCIA = [
    claim
    for name in ("mnist-balance", "cifar10-balance")
    for claim in (
        Claim(name, "classes balance by themselves", classes_balance),
        Claim(name, "accuracy is higher at little cost", more_accurate),
    )
]
