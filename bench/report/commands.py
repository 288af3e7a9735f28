"""The commands that make a committed comparison or study again, told by its settings."""

import re
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from bench.report import smedas_table, thresholds_table
from bench.report.results import target
from bench.tasks import TASKS

COMMAND, WIDTH = ("python", "-m", "bench"), 110
RATES = "rates"  # the folder that `tune` writes and `compare` reads
Results = dict[str, Any]


def made_by(results: Results) -> str:
    """A block of code; "" of results that are not of trainings."""
    settings = results.get("settings", {})
    if "task" not in settings and "study" not in settings:
        return ""
    lines = (wrapped(" ".join(words)) for words in commands(results))
    text = "\n".join(lines)
    return f"\n```bash\n{text}\n```\n"


def wrapped(line: str) -> str:
    """Over several lines, of which none ends between an option and its value."""
    bound = re.sub(r"(--\S+) ", "\\1\N{NO-BREAK SPACE}", line)
    parts = wrap(bound, WIDTH, break_long_words=False, break_on_hyphens=False)
    return " \\\n    ".join(parts).replace("\N{NO-BREAK SPACE}", " ")


def commands(results: Results) -> list[list[str]]:
    """Each as its words."""
    settings = results["settings"]
    match settings.get("study"):
        case "smedas":
            own = smedas(results)
        case "thresholds":
            studied = thresholds_table.studied(results)
            values = sorted({t for own in studied.values() for t in own}, reverse=True)
            own = training("thresholds", results, list(studied))
            own += ["--thresholds", *map(number, values)]
        case "balance":
            own = training("balance", results, list(results["strategies"]))
            own += ["--epochs", str(settings["budget"]["steps"] // settings["evaluate_every"])]
            if settings["rare_classes"] != 1:
                own += ["--rare", number(settings["rare_classes"])]
        case _:
            own = compare(results)
    tuning = results.get("tuning")
    return [tune(tuning), own] if tuning else [own]


def compare(results: Results) -> list[str]:
    words = training("compare", results, list(results["strategies"]))
    if tuning := results.get("tuning"):
        words += ["--rates", f"{RATES}/rates.json"]
    if by_hand := list(rates_by_hand(results, tuning)):
        words += ["--rate", *by_hand]
    if results["target"] is not None and results["target"] != target(results):
        words += ["--target", *map(number, [results["target"], *results.get("more_targets", ())])]
    return words


def rates_by_hand(results: Results, tuning: Results | None) -> Iterator[str]:
    usual = results["settings"]["learning_rate"]
    found = {} if tuning is None else tuning["rates"]
    for name, strategy in results["strategies"].items():
        rate = strategy.get("learning_rate", usual)
        if rate != found.get(name, usual):
            yield f"{name}={number(rate)}"


def tune(tuning: Results) -> list[str]:
    words = training("tune", tuning, list(tuning["rates"]))
    words += ["--grid", *map(number, tuning["grid"]), "--absolute"]
    if tuning["target"] is not None:
        words += ["--target", number(tuning["target"])]
    return [*words, "--out", RATES]


def training(command: str, results: Results, names: list[str]) -> list[str]:
    """What the commands have in common."""
    settings, threads = results["settings"], results["machine"]["threads"]
    task = TASKS[settings["task"]]
    words = [*COMMAND, command, task.name, "--strategies", *names]
    if settings["start"] != task.start:
        words += ["--start", settings["start"]]
    if settings.get("compiled"):
        words.append("--compile")
    if wrong := settings.get("wrong_labels"):
        words += ["--wrong-labels", number(wrong)]
    by_epochs = command == "balance" or settings.get("epochs") is not None
    pool = settings["pool"]  # of `tune`, what is left once samples are held out
    # Samples of rare classes are left out of the pool that was asked for.
    if settings.get("rare_classes", 1) == 1 and not (by_epochs and pool == task.epoch_pool):
        words += ["--pool", str(pool)]
    if command != "balance":
        for unit, amount in settings["budget"].items():
            if amount is not None and amount != getattr(task.budget, unit):
                words += [f"--{unit}", number(amount)]
    words += ["--seeds", str(len(results["seeds"]))]
    return words if threads == task.threads else [*words, "--threads", str(threads)]


def smedas(results: Results) -> list[str]:
    settings, kinds = results["settings"], smedas_table.kinds(results)
    data, networks, batches = (list(dict.fromkeys(part)) for part in zip(*kinds, strict=True))
    words = [*COMMAND, "smedas", "--data", *data, "--networks", *networks]
    words += ["--batches", *map(str, batches), "--ways", *next(iter(kinds.values()))]
    words += ["--epochs", str(settings["epochs"]), "--seeds", str(len(results["seeds"]))]
    if settings["pool"] is not None:
        words += ["--pool", str(settings["pool"])]
    if settings["device"] != "cpu":
        words += ["--device", "cuda"]
    return [*words, "--threads", str(results["machine"]["threads"])]


def number(value: float) -> str:
    return f"{value:.10g}"
