"""Every strategy of the registry on one page: what it does, its parameters, paper and results."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from bench.report import verdict
from bench.report.prose import prose
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
    judged = [verdict.judge(results) for results in verdict.comparisons()]
    parts = []
    for level, heading in HEADINGS.items():
        parts.append(heading)
        parts += [entry(strategies.get(name), judged) for name in strategies.names(level)]
    return PARAGRAPH.join(parts) + "\n"


def entry(strategy: strategies.Strategy, judged: list[verdict.Judged]) -> str:
    text, *sections = SECTION.split(strategy.description)
    parts = [f"### `{strategy.name}`", prose(text.strip())]
    arguments = dict(zip(sections[::2], sections[1::2], strict=True)).get("Args", "")
    if own := list(parameters(strategy.make, arguments)):
        parts.append("\n".join(own))
    parts += [f"Paper: {cited(paper)}." for paper in papers(strategy)]
    if lines := list(measured(judged, strategy.name)):
        parts += ["Time over uniform sampling's:", "\n".join(lines)]
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


def measured(judged: list[verdict.Judged], name: str) -> Iterator[str]:
    """A line for each comparison that the strategy is in."""
    for comparison in judged:
        for row in comparison.choices + comparison.baselines:
            if row.name == name and row.time is not None:
                yield f"- {comparison.title}: {row.time}, {row.time.word}"
