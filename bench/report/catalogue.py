"""Every strategy of the registry on one page: what it does, its parameters, paper and results."""

import inspect
import re
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

from bench.report.files import RESULTS, read_json
from bench.report.prose import prose
from bench.report.results import final_accuracy, runs_of, share_of_uniform, smoothed
from bench.report.strategy_list import PARAGRAPH, source, without_latex
from impsamp_fast import strategies

HEADINGS = {"batch": "## Batch level", "dataset": "## Data-set level"}
# What all of a level take, which the reference of Selector or DatasetSampler tells of.
COMMON = {
    *("model", "n", "options", "start", "counts", "label_smoothing", "class_weight"),
    *("ignore_index", "rank", "target", "observe", "small_batch", "on_fault", "seed"),
    *("size", "epochs", "classes"),
}
SECTION = re.compile(r"^(Args|Raises|Returns|Attributes):$", re.MULTILINE)
ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
FIELD = re.compile(
    r"^\s*(\w+)\s*=\s*{(.*?)},?\s*$(?=\s*^\s*\w+\s*=|\s*})", re.DOTALL | re.MULTILINE
)


def markdown() -> str:
    """The page's part."""
    parts = []
    for level, heading in HEADINGS.items():
        parts.append(heading)
        parts += [entry(strategies.get(name)) for name in strategies.names(level)]
    return PARAGRAPH.join(parts) + "\n"


def entry(strategy: strategies.Strategy) -> str:
    text, *sections = SECTION.split(strategy.description)
    parts = [f"### `{strategy.name}`", prose(text.strip())]
    arguments = dict(zip(sections[::2], sections[1::2], strict=True)).get("Args", "")
    if own := list(parameters(strategy.make, arguments)):
        parts.append("\n".join(own))
    parts += [f"Paper: {cited(paper)}." for paper in papers(strategy)]
    if measured := [sentence for judge in JUDGES for sentence in judge(strategy.name)]:
        parts.append("Measured: " + " ".join(measured))
    return PARAGRAPH.join(parts)


def parameters(make: Callable[..., Any], arguments: str) -> Iterator[str]:
    """A line for each parameter of the strategy's own."""
    taken = inspect.signature(make).parameters
    for name, text in ARGUMENT.findall(arguments):
        if name not in COMMON:
            default = taken[name].default
            given = "" if default is inspect.Parameter.empty else f" = {default!r}"
            yield f"- `{name}{given}`: {' '.join(prose(text).split())}"


def papers(strategy: strategies.Strategy) -> list[str]:
    return strategy.bibtex.split(PARAGRAPH) if strategy.bibtex else []


def cited(bibtex: str) -> str:
    """Authors, year, title and where it was published."""
    fields = {name: plain(value) for name, value in FIELD.findall(bibtex)}
    where = next((fields[key] for key in ("booktitle", "journal", "school") if key in fields), None)
    return f"{source(bibtex)}, *{fields['title']}*" + (f", {where}" if where else "")


def plain(value: str) -> str:
    return " ".join(re.sub(r"[{}]", "", without_latex(value)).split())


def on_mnist(name: str) -> Iterator[str]:
    """What it reached in the same time as uniform sampling."""
    results = read_json(RESULTS / "mnist-strategies.json")
    if name in results["strategies"] and name != "uniform":
        goal = results["target"]
        end = {of: fmean(map(final_accuracy, runs_of(results, of))) for of in (name, "uniform")}
        share = share_of_uniform(results, name, goal)
        yield (
            f"MNIST in equal time {100 * end[name]:.2f}%, uniform {100 * end['uniform']:.2f}%; "
            f"time to {100 * goal:.2f}% over uniform's: {share}."
        )


def with_wrong_labels(name: str) -> Iterator[str]:
    """Its highest accuracy beside that of uniform sampling."""
    results = read_json(RESULTS / "mnist-wrong-labels.json")
    if name in results["strategies"] and name != "uniform":
        best = {
            of: fmean(max(smoothed(run["curve"]["accuracy"])) for run in runs_of(results, of))
            for of in (name, "uniform")
        }
        yield (
            f"With {100 * results['settings']['wrong_labels']:g}% wrong labels at best "
            f"{100 * best[name]:.1f}%, uniform {100 * best['uniform']:.1f}%."
        )


JUDGES = (on_mnist, with_wrong_labels)
