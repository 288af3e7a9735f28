"""Tables of a comparison of the paper's strategies: what each reaches, and what a step costs."""

from statistics import fmean, stdev
from typing import Any

from bench.report.machine import measured_on
from bench.report.results import (
    STAGES,
    OverSeeds,
    final_accuracy,
    first_reaching,
    number_of_seeds,
    runs_of,
    share_of_uniform,
    task_title,
)
from bench.report.table import table


def summarise(results: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per strategy; times are means over the seeds that reached the target."""
    rows = []
    for name in results["strategies"]:
        runs = runs_of(results, name)
        final = [final_accuracy(run) for run in runs]
        goal = results["target"]
        reached = [hit for run in runs if goal and (hit := first_reaching(run, goal))]
        row = {
            "strategy": name,
            "accuracy": fmean(final),
            "accuracy_deviation": stdev(final) if len(final) > 1 else None,
            "reached": len(reached),
            "runs": len(runs),
            "steps_to_target": fmean(hit[0] for hit in reached) if reached else None,
            "seconds_to_target": fmean(hit[1] for hit in reached) if reached else None,
            "share_of_uniform": goal and share_of_uniform(results, name, goal),
            "steps": fmean(run["curve"]["step"][-1] for run in runs),
            "importance_steps": fmean(run["importance_steps"] for run in runs),
            "seconds": fmean(run["curve"]["seconds"][-1] for run in runs),
            "split_us": {
                stage: fmean(run["split_us"][stage] for run in runs)
                for stage in (*PAPER_STAGES, "step")
            },
        }
        row["select_share"] = row["split_us"]["select"] / row["split_us"]["step"]
        rows.append(row)
    return rows


def markdown(results: dict[str, Any]) -> str:
    """Both tables and what they were measured on."""
    settings, goal = results["settings"], results["target"]
    rows = [(results["strategies"][row["strategy"]], row) for row in summarise(results)]
    lines = [
        f"{task_title(results)}: mean of {number_of_seeds(results)}, "
        f"K = {settings['large_batch']}, n = {settings['mini_batch']}"
        + (f"; target accuracy {100 * goal:.2f}%." if goal else "."),
        f"Measured on {measured_on(results)}.",
        f"Over uniform's time: {SHARES}",
        *made_with(results),
        "",
        *table(OUTCOME_HEADINGS, [outcome_cells(strategy, row) for strategy, row in rows]),
        "",
        *further_targets(results),
        "Time of a step in microseconds, medians measured after each run:",
        "",
        *table(SPLIT_HEADINGS, [split_cells(strategy, row) for strategy, row in rows]),
    ]
    return "\n".join(lines) + "\n"


def further_targets(results: dict[str, Any]) -> list[str]:
    """A table of the time to each target over uniform's, where there are several."""
    if not results.get("more_targets"):
        return []
    goals = [results["target"], *results["more_targets"]]
    rows = []
    for name, strategy in results["strategies"].items():
        shares = [share_of_uniform(results, name, goal) for goal in goals]
        if name != "uniform":
            rows.append([strategy["label"], *("-" if s is None else str(s) for s in shares)])
    headings = ["over uniform's time to", *(f"{100 * goal:.2f}%" for goal in goals)]
    return [*table(headings, rows), ""]


def made_with(results: dict[str, Any]) -> list[str]:
    """Learning rates, compilation and memory, where they are not the same old ones for all."""
    settings, strategies = results["settings"], results["strategies"]
    usual = settings.get("learning_rate")
    own = {n: s.get("learning_rate", usual) for n, s in strategies.items()}
    tuning = results.get("tuning")
    sentences = tuned_rates(tuning, own) if tuning else own_rates(usual, own)
    if tuning:
        sentences += tuned_otherwise(tuning, settings)
    compiled = settings.get("compiled")
    if compiled:
        sentences.append("The model that is trained is compiled for all.")
    recipes = [s.get("recipe", {}) for s in strategies.values()]
    trained_compiled = any(recipe.get("compiled") for recipe in recipes)
    if trained_compiled:
        sentences.append('"compiled": the training forward pass, with a fused optimizer.')
    passes = [s.get("made", {}).get("scoring") or {} for s in strategies.values()]
    if compiled or trained_compiled or any(scoring.get("compile") for scoring in passes):
        sentences.append("Compiling is done before the clock runs.")
    if any(recipe.get("decayed") for recipe in recipes):
        sentences.append("Decayed rates fall to 0 at the end of the budget, by half a cosine.")
    if settings.get("keeps_memory"):
        sentences.append("The process keeps freed memory (`keep_freed_memory`), for all.")
    return [" ".join(sentences)] if sentences else []


def own_rates(usual: float, own: dict[str, float]) -> list[str]:
    told = ", ".join(f"{n} {rate:g}" for n, rate in own.items() if rate != usual)
    others = f"; others {usual:g}" if told and usual in own.values() else ""
    return [f"Learning rates: {told}{others}."] if told else []


def tuned_rates(tuning: dict[str, Any], own: dict[str, float]) -> list[str]:
    """How the learning rates were found, and which were not."""
    first, *others = tuning["seeds"]
    seeds = f"{first} to {others[-1]}" if others else str(first)
    grid = ", ".join(f"{rate:g}" for rate in tuning["grid"])
    chosen = {n: rate for n, rate in own.items() if tuning["rates"].get(n) == rate}
    told = ", ".join(f"{n} {rate:g}" for n, rate in chosen.items())
    sentences = [
        f"Each at its best learning rate of {grid}, by {tuning['criterion']}, found on other seeds "
        f"({seeds}) and {tuning['held_out']:,} samples held out of the training set: "
        f"{told}."
    ]
    if ends := [n for n in chosen if n in tuning["at_an_end"]]:
        sentences.append(f"At an end of that grid: {', '.join(ends)}.")
    if given := [f"{n} {rate:g}" for n, rate in own.items() if n not in chosen]:
        sentences.append(f"Not tuned: {', '.join(given)}.")
    return sentences


def tuned_otherwise(tuning: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """What else the learning rates were found with, where it is not what they are used with."""
    found = tuning["settings"]
    others = [word for name, word in SETTINGS.items() if found.get(name) != settings.get(name)]
    if found["pool"] not in (settings["pool"], settings["pool"] - tuning["held_out"]):
        others.append("number of samples")
    *most, last = others or [""]
    told = f"{', '.join(most)} and {last}" if most else last
    return [f"They were found with another {told}."] if others else []


SETTINGS = {
    "budget": "budget",
    "start": "start rule",
    "wrong_labels": "share of wrong labels",
    "compiled": "compilation",
}
SHARES = (
    "the median over the seeds with which uniform reaches the target of the ratio of the two times "
    "to it, and its 95% bootstrap interval, with five seeds or fewer their range. It is better or "
    "worse where the interval is wholly below or above 1; of strategies that are alike, five seeds "
    "agree on that by chance in 6% of all cases, three in 25%."
)
OUTCOME_HEADINGS = [
    "strategy",
    "correction",
    "start rule",
    "accuracy at the end",
    "steps",
    "by importance",
    "time",
    "steps to target",
    "time to target",
    "over uniform's time to it",
    "which is",
]
# None of them has a model of its own.
PAPER_STAGES = [stage for stage in STAGES if stage != "second_model"]
SPLIT_HEADINGS = ["strategy", *PAPER_STAGES, "step", "select's share"]


def outcome_cells(strategy: dict[str, Any], row: dict[str, Any]) -> list[str]:
    deviation = row["accuracy_deviation"]
    accuracy = f"{100 * row['accuracy']:.2f}%"
    if deviation is not None:
        accuracy += f" ± {100 * deviation:.2f}"
    steps = time = "not reached"
    if row["reached"]:
        some = "" if row["reached"] == row["runs"] else f" ({row['reached']} of {row['runs']} runs)"
        steps, time = (
            f"{row['steps_to_target']:.0f}{some}",
            f"{row['seconds_to_target']:.2f} s{some}",
        )
    share = row["share_of_uniform"]
    return [
        strategy["label"],
        strategy["correction"],
        strategy["start"] or "-",
        accuracy,
        f"{row['steps']:.0f}",
        f"{100 * row['importance_steps'] / row['steps']:.0f}%",
        f"{row['seconds']:.2f} s",
        steps,
        time,
        *share_cells(share),
    ]


def share_cells(share: OverSeeds | None) -> list[str]:
    """A number over the seeds, such as a share of uniform sampling's time, and what it says."""
    return ["-", "-"] if share is None else [str(share), share.word]


def split_cells(strategy: dict[str, Any], row: dict[str, Any]) -> list[str]:
    times = [f"{row['split_us'][stage]:.0f}" for stage in (*PAPER_STAGES, "step")]
    return [strategy["label"], *times, f"{100 * row['select_share']:.1f}%"]
