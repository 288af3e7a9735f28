"""The measured parts of README.md and the pages in docs, made from the results in bench/results.

A page marks each part with `<!-- bench: NAME -->` and `<!-- end of bench: NAME -->`; what stands
between is replaced. No number in it is typed by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report import (
    balance_table,
    catalogue,
    claims,
    cost_table,
    curves_table,
    device_table,
    gpu_table,
    operator_tables,
    paper_tables,
    ranks_table,
    short_tables,
    smedas_table,
    strategies_table,
    strategy_list,
    thresholds_table,
    verdict,
    wrong_labels_table,
)
from bench.report.files import RESULTS, read_json, write_atomically

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Rewrite the pages."""
    for page, parts in PARTS.items():
        text = (ROOT / page).read_text()
        for name, part in parts.items():
            text = replace_part(text, name, part())
        write_atomically(ROOT / page, lambda partial, text=text: partial.write_text(text))
        print(ROOT / page)


def replace_part(text: str, name: str, part: str) -> str:
    begin, end = f"<!-- bench: {name} -->", f"<!-- end of bench: {name} -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    part = part or f"Not measured yet: {name}.\n"
    replaced, count = pattern.subn(lambda match: match[1] + part + match[2], text)
    if count != 1:
        raise SystemExit(f"the page has {count} parts {begin} ... {end}, expected 1")
    return replaced


def shown(
    name: str, markdown: Callable[[dict[str, Any]], str], otherwise: str | None = None
) -> Callable[[], str]:
    """What makes a part of a result; without that file it is `otherwise`, where one may lack it."""

    def part() -> str:
        path = RESULTS / f"{name}.json"
        if otherwise is not None and not path.exists():
            return otherwise
        return markdown(read_json(path))

    return part


def pictured(
    name: str, markdown: Callable[[dict[str, Any]], str], description: str
) -> Callable[[], str]:
    """What makes a part of a study's result: its figure and its table; "" without that file."""
    table = shown(name, markdown, otherwise="")
    return lambda: f"{picture(name, description)}{table()}"


def picture(name: str, description: str) -> str:
    """A committed figure on a page; "" if there is none."""
    file = RESULTS / f"{name}.png"
    return f"![{description}](../bench/results/{name}.png)\n\n" if file.exists() else ""


def found(claims_of_paper: list[claims.Claim]) -> Callable[[], str]:
    """What makes the table of a paper's claims about the results that are there."""

    def read(name: str) -> dict[str, Any] | None:
        path = RESULTS / f"{name}.json"
        return read_json(path) if path.exists() else None

    return lambda: claims.markdown(claims_of_paper, read)


FROM_THE_REGISTRY = {"strategies", "catalogue"}  # which link to each other's pages
THRESHOLDS = "Test accuracy against time, by strategy and threshold"
BALANCE = "Accuracy, distance from balance, and the classes' shares of the picks, by epoch"
FILTERED = "Test accuracy over the epochs, by what is filtered"
SIZES = "What operators and their peers take, by size and dtype"
PICKED = "The most and the least picked pictures of each strategy"
PARTS = {
    "README.md": {
        "verdict-short": short_tables.verdicts_markdown,
        "costs-short": short_tables.costs_markdown,
        "devices": shown("devices", device_table.markdown),
    },
    "docs/benchmarks.md": {
        "two-circles": shown("two-circles", paper_tables.markdown),
        "two-circles-tuned": shown("two-circles-tuned", paper_tables.markdown, otherwise=""),
        # Measured where the data are at hand.
        "mnist": shown("mnist", paper_tables.markdown, otherwise=""),
        "mnist-tuned": shown("mnist-tuned", paper_tables.markdown, otherwise=""),
        "mnist-compiled": shown("mnist-compiled", paper_tables.markdown, otherwise=""),
        "mnist-strategies": shown("mnist-strategies", strategies_table.markdown, otherwise=""),
        "mnist-wrong-labels": shown(
            "mnist-wrong-labels", wrong_labels_table.markdown, otherwise=""
        ),
    },
    "docs/papers.md": {
        "claims-knutsson": found(claims.KNUTSSON),
        "cifar10": shown("cifar10", paper_tables.markdown, otherwise=""),
        "cifar10-tuned": shown("cifar10-tuned", paper_tables.markdown, otherwise=""),
        "patch-camelyon": shown("patch-camelyon", paper_tables.markdown, otherwise=""),
        "two-circles-thresholds": pictured(
            "two-circles-thresholds", thresholds_table.markdown, THRESHOLDS
        ),
        "mnist-thresholds": pictured("mnist-thresholds", thresholds_table.markdown, THRESHOLDS),
        "mnist-picked": lambda: picture("mnist-picked", PICKED),
        "cifar10-picked": lambda: picture("cifar10-picked", PICKED),
        "claims-smedas": found(claims.SMEDAS),
        "smedas": pictured("smedas", smedas_table.markdown, FILTERED),
        "smedas-subset": pictured("smedas-subset", smedas_table.markdown, FILTERED),
        "claims-quercia": found(claims.QUERCIA),
        "mnist-balance": pictured("mnist-balance", balance_table.markdown, BALANCE),
        "cifar10-balance": pictured("cifar10-balance", balance_table.markdown, BALANCE),
    },
    "docs/operators.md": {
        "costs-short": short_tables.costs_markdown,
        "operator-costs": shown("ratios", operator_tables.ratios_markdown),
        "peers": shown("ratios", operator_tables.peers_markdown),
        "operator-curves": pictured("operators", curves_table.markdown, SIZES),
    },
    "docs/pays.md": {"cost-model": cost_table.markdown},
    "docs/verdicts.md": {
        "verdict-short": lambda: verdict.short(verdict.comparisons()),
        "verdicts": lambda: verdict.markdown(verdict.comparisons()),
    },
    "docs/gpu.md": {"gpu": shown("gpu", gpu_table.markdown)},
    "docs/weights.md": {"variance": shown("variance", operator_tables.variance_markdown)},
    "docs/strategies.md": {"strategies": strategy_list.markdown},
    "docs/catalogue.md": {"catalogue": catalogue.markdown},
    "docs/distributed.md": {"ranks": shown("ranks", ranks_table.markdown)},
}
