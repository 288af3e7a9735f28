"""One table for strategies of any level: what each reaches, and what its choosing costs."""

from statistics import fmean, stdev
from typing import Any

from bench.report.machine import measured_on
from bench.report.paper_tables import SHARES, made_with, share_cells
from bench.report.results import (
    QUANTILES,
    ROW_LOOP,
    at_step,
    at_time,
    final_accuracy,
    first_reaching,
    number_of_seeds,
    runs_of,
    share_of_uniform,
    task_title,
)
from bench.report.table import table


def summarise(results: dict[str, Any]) -> dict[str, Any]:
    """The table's numbers, and at which equal time and equal steps runs are compared."""
    curves = [run["curve"] for run in results["runs"] if run["strategy"] != ROW_LOOP]
    curves = curves or [run["curve"] for run in results["runs"]]
    moments = {
        "seconds": min(curve["seconds"][-1] for curve in curves),
        "step": min(curve["step"][-1] for curve in curves),
    }
    rows = [summary_of(results, name, moments) for name in results["strategies"]]
    return {"moments": moments, "rows": rows}


def summary_of(results: dict[str, Any], name: str, moments: dict[str, float]) -> dict[str, Any]:
    runs, goal = runs_of(results, name), results["target"]
    final = [final_accuracy(run) for run in runs]
    reached = [hit for run in runs if goal and (hit := first_reaching(run, goal))]
    return {
        "strategy": name,
        "accuracy": fmean(final),
        "accuracy_deviation": stdev(final) if len(final) > 1 else None,
        "at_equal_time": mean_or_none([at_time(run, moments["seconds"]) for run in runs]),
        "at_equal_steps": mean_or_none([at_step(run, moments["step"]) for run in runs]),
        "reached": len(reached),
        "runs": len(runs),
        "share_of_uniform": goal and share_of_uniform(results, name, goal),
        "seconds_to_target": fmean(hit[1] for hit in reached) if reached else None,
        "steps": fmean(run["curve"]["step"][-1] for run in runs),
        "step_us": fmean(run["split_us"]["step"] for run in runs),
        "selection_share": mean_share(runs, "selection"),
        "second_model_share": mean_share(runs, "second_model"),
        "share_beyond_forward": mean_share(runs, "selection", beyond_forward=True),
        "loss_quantiles": [
            fmean(losses) for losses in zip(*(run["loss_quantiles"] for run in runs), strict=True)
        ],
    }


def mean_share(runs: list[dict[str, Any]], part: str, beyond_forward: bool = False) -> float:
    """What a part of a step is of all of it, or of all but the forward passes for scoring."""
    splits = [run["split_us"] for run in runs]
    return fmean(
        split.get(part, 0.0) / (split["step"] - beyond_forward * split["forward"])
        for split in splits
    )


def mean_or_none(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def markdown(results: dict[str, Any]) -> str:
    """The table, what it was measured on, and how its columns come about."""
    settings, goal, overview = results["settings"], results["target"], summarise(results)
    seconds, step = overview["moments"]["seconds"], overview["moments"]["step"]
    goal_heading = f"time to {100 * goal:.2f}%" if goal else "time to target"
    headings = [
        "strategy",
        "accuracy at the end",
        f"at {seconds:.2g} s",
        f"at {step:.0f} steps",
        goal_heading,
        "over uniform's",
        "which is",
        "steps",
        "ms per step",
        "selection",
        "second model",
        *(f"loss {name_of(q)}" for q in QUANTILES),
    ]
    rows = [cells(results["strategies"][row["strategy"]], row) for row in overview["rows"]]
    lines = [
        f"{task_title(results)}, {settings['pool']:,} training samples{wrong(settings)}: mean of "
        f"{number_of_seeds(results)}, K = {settings['large_batch']}, n = {settings['mini_batch']}"
        + (f"; target accuracy {100 * goal:.2f}%." if goal else "."),
        f"Measured on {measured_on(results)}.",
        *made_with(results),
        "",
        *table(headings, rows),
        "",
        notes(settings, overview["rows"]),
    ]
    return "\n".join(lines) + "\n"


def wrong(settings: dict[str, Any]) -> str:
    share = settings.get("wrong_labels", 0)
    return f", {100 * share:g}% of their labels wrong" if share else ""


def name_of(quantile: float) -> str:
    return "worst" if quantile == 1 else f"{quantile:g}"


def cells(strategy: dict[str, Any], row: dict[str, Any]) -> list[str]:
    accuracy = percent(row["accuracy"])
    if row["accuracy_deviation"] is not None:
        accuracy += f" ± {100 * row['accuracy_deviation']:.2f}"
    time = "not reached"
    if row["reached"]:
        some = "" if row["reached"] == row["runs"] else f" ({row['reached']} of {row['runs']})"
        time = f"{row['seconds_to_target']:.2f} s{some}"
    return [
        strategy["label"],
        accuracy,
        percent(row["at_equal_time"]),
        percent(row["at_equal_steps"]),
        time,
        *share_cells(row["share_of_uniform"]),
        f"{row['steps']:.0f}",
        f"{row['step_us'] / 1e3:.2f}",
        f"{100 * row['selection_share']:.1f}%",
        f"{100 * row['second_model_share']:.1f}%" if row["second_model_share"] else "-",
        *(f"{loss:.2g}" for loss in row["loss_quantiles"]),
    ]


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}%"


def notes(settings: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    shares = ("selection_share", "share_beyond_forward")
    most, beyond = (max(rows, key=lambda row: row[share]) for share in shares)
    sentences = [
        '"selection" is the share of a step that is neither training, nor a forward pass for '
        'scoring, nor the call and the training of a strategy\'s own model ("second model"), once '
        "rows are chosen by importance; the largest is "
        f"{100 * most['selection_share']:.1f}% ({most['strategy']}), and of a step without its "
        f"forward passes {100 * beyond['share_beyond_forward']:.1f}% ({beyond['strategy']}).",
        f"Over uniform's: {SHARES}",
        "Losses are quantiles over the test set at the end.",
    ]
    if settings["epochs"]:
        sentences.append(
            f"Strategies of the data-set level plan for {settings['epochs']} epochs, as many as "
            "uniform sampling makes in that budget, with warm-ups of at most 15% of them (at least "
            "one epoch); epochs beyond, where a strategy leaves out samples, are like the last."
        )
    return " ".join(sentences)
