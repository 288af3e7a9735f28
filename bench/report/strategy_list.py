"""The strategies of the registry as a list for readers: name, what it does, where it comes from."""

import inspect
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import torch

import impsamp_fast as isf
from bench.report.prose import prose
from impsamp_fast import strategies

SIZE = 1000  # of a data set
PARAGRAPH = "\n\n"
HEADINGS = {
    "batch": "Batch level: `strategies.make(name, model, n)`",
    "dataset": "Data-set level: `strategies.make(name, size, epochs=..., classes=...)`",
}
COMMON = ("model", "n", "size", "epochs", "classes")  # to all of a level
# The accents of LaTeX that authors' names have, as combining characters.
ACCENTS = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303"}
LETTERS = {r"\aa": "å", r"\AA": "Å", r"\o": "ø", r"\O": "Ø", r"\ss": "ß", r"\c{c}": "ç"}


def markdown() -> str:
    """The list of all strategies."""
    lines = []
    for level, heading in HEADINGS.items():
        lines += [heading, ""]
        lines += [line_of(strategies.get(name)) for name in strategies.names(level)]
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def line_of(strategy: strategies.Strategy) -> str:
    first, _, _ = strategy.description.partition(PARAGRAPH)
    line = f"- [`{strategy.name}`](catalogue.md#{strategy.name}): "
    line += prose(" ".join(first.split())).removesuffix(".")
    if strategy.bibtex:
        line += f" ({'; '.join(source(entry) for entry in strategy.bibtex.split(PARAGRAPH))})"
    if strategy.level == "dataset":
        line += f"; {bytes_per_sample(strategy)} bytes per sample"
    return line + needs(strategy) + "."


def needs(strategy: strategies.Strategy) -> str:
    """What a strategy needs besides what all of its level do."""
    if arguments := [name for name in required(strategy.make) if name not in COMMON]:
        return f"; needs {' and '.join(f'`{name}=`' for name in arguments)}"
    if strategy.level == "batch":
        score = getattr(strategy(torch.nn.Linear(1, 2), 1), "score", None)
        if callable(score) and "index" in required(score):
            return "; calls need `index`"
    return ""


def required(function: Callable[..., Any]) -> list[str]:
    """The parameters without a default."""
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and parameter.kind != parameter.VAR_KEYWORD
    ]


def bytes_per_sample(strategy: strategies.Strategy) -> int:
    """What a sampler keeps of each sample, its place in the order of the epoch included."""
    sampler = strategy(SIZE, epochs=20, classes=10, seed=0)
    tables = sum(dtype.itemsize for dtype, _ in sampler.tables.values())
    memory = sampler.memory.nbytes if isinstance(sampler.memory, isf.SampleMemory) else 0
    return tables + memory // SIZE + torch.int32.itemsize


def source(bibtex: str) -> str:
    """Authors and year of a BibTeX entry, as "Jiang et al. 2019"."""
    year = re.search(r"year\s*=\s*{(\d+)}", bibtex)
    authors = re.search(r"author\s*=\s*{(.*?)},\s*\n\s*\w+\s*=", bibtex, re.DOTALL)
    if not year or not authors:
        raise SystemExit(f"no author or no year in {bibtex}")
    names = [name.split(",")[0] for name in re.split(r"\s+and\s+", authors[1])]
    who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return f"{without_latex(who)} {year[1]}"


def without_latex(text: str) -> str:
    for command, letter in LETTERS.items():
        text = text.replace(f"{{{command}}}", letter)
    accented = re.compile(r"{\\([\"'`^~])(\w)}")
    text = accented.sub(lambda found: found[2] + ACCENTS[found[1]], text)
    return unicodedata.normalize("NFC", text)
