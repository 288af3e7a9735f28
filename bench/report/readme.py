"""The figures and the measured parts of README.md and docs, made from the results in bench/results.

A page marks each part with `<!-- bench: NAME -->` and `<!-- end of bench: NAME -->`; what stands
between is replaced. No number in it is typed by hand.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.report import (
    balance_table,
    catalogue,
    claims,
    commands,
    committed,
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
    """Draw the figures again, and rewrite the pages."""
    for result in sorted(RESULTS.glob("*.json")):
        for path in committed.draw(result.stem):
            print(path)
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


def trained(name: str, markdown: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """What makes a part of trainings: their table, and the commands that make it again.

    Without that result the part is empty.
    """
    return shown(name, lambda results: markdown(results) + commands.made_by(results), otherwise="")


def pictured(
    name: str,
    description: str,
    markdown: Callable[[dict[str, Any]], str] | None = None,
    figure: str = "",
) -> Callable[[], str]:
    """What makes a part of a result: its figure, a paper's claims about it, and its table.

    The figure has the name of the result, and what `figure` adds to it. Without that result the
    part is empty.
    """

    def text(results: dict[str, Any]) -> str:
        found = claims.markdown(claims.CLAIMS.get(name, []), results)
        parts = [picture(name + figure, description), found]
        if markdown is not None:
            parts += [markdown(results), commands.made_by(results).lstrip()]
        return "\n".join(filter(None, parts))

    return shown(name, text, otherwise="")


def picture(name: str, description: str) -> str:
    """A committed figure on a page; "" if there is none."""
    file = RESULTS / f"{name}.png"
    return f"![{description}](../bench/results/{name}.png)\n" if file.exists() else ""


FROM_THE_REGISTRY = {"strategies", "catalogue"}  # which link to each other's pages
CURVES = "Test accuracy and loss against time and against steps"
THRESHOLDS = "Test accuracy against time and against steps, by strategy and threshold"
BALANCE = "Accuracy, distance from balance, and the classes' shares of the picks, by epoch"
FILTERED = "Test accuracy over the epochs, by what is filtered"
SIZES = "What operators and their peers take, by size and dtype"
PICKED = "The most and the least picked pictures of each strategy, and how many have how many picks"
PARTS = {
    "README.md": {
        "verdict-short": short_tables.verdicts_markdown,
        "costs-short": short_tables.costs_markdown,
        "devices": shown("devices", device_table.markdown),
    },
    "docs/benchmarks.md": {
        "two-circles": trained("two-circles", paper_tables.markdown),
        "two-circles-tuned": trained("two-circles-tuned", paper_tables.markdown),
        # Measured where the data are at hand.
        "mnist": trained("mnist", paper_tables.markdown),
        "mnist-tuned": trained("mnist-tuned", paper_tables.markdown),
        "mnist-long-tuned": trained("mnist-long-tuned", paper_tables.markdown),
        "mnist-compiled-tuned": trained("mnist-compiled-tuned", paper_tables.markdown),
        "mnist-strategies-tuned": trained("mnist-strategies-tuned", strategies_table.markdown),
        "mnist-wrong-labels-tuned": trained(
            "mnist-wrong-labels-tuned", wrong_labels_table.markdown
        ),
    },
    "docs/papers.md": {
        "two-circles-curves": pictured("two-circles", CURVES, figure="-curves"),
        "mnist-curves": pictured("mnist", CURVES, figure="-curves"),
        "mnist-strategies-claims": shown(
            "mnist-strategies-tuned",
            partial(claims.markdown, claims.CLAIMS["mnist-strategies-tuned"]),
            otherwise="",
        ),
        "cifar10": pictured("cifar10", CURVES, paper_tables.markdown, figure="-curves"),
        "cifar10-tuned": trained("cifar10-tuned", paper_tables.markdown),
        "patch-camelyon": pictured(
            "patch-camelyon", CURVES, paper_tables.markdown, figure="-curves"
        ),
        "two-circles-thresholds": pictured(
            "two-circles-thresholds", THRESHOLDS, thresholds_table.markdown
        ),
        "mnist-thresholds": pictured("mnist-thresholds", THRESHOLDS, thresholds_table.markdown),
        "mnist-picked": lambda: picture("mnist-picked", PICKED),
        "cifar10-picked": lambda: picture("cifar10-picked", PICKED),
        "smedas": pictured("smedas", FILTERED, smedas_table.markdown),
        "smedas-subset": pictured("smedas-subset", FILTERED, smedas_table.markdown),
        "mnist-balance": pictured("mnist-balance", BALANCE, balance_table.markdown),
        "cifar10-balance": pictured("cifar10-balance", BALANCE, balance_table.markdown),
    },
    "docs/operators.md": {
        "costs-short": short_tables.costs_markdown,
        "operator-costs": shown("ratios", operator_tables.ratios_markdown),
        "peers": shown("ratios", operator_tables.peers_markdown),
        "operator-curves": pictured("operators", SIZES, curves_table.markdown),
    },
    "docs/pays.md": {"cost-model": cost_table.markdown},
    "docs/verdicts.md": {
        "verdict-short": lambda: verdict.short(verdict.comparisons()),
        "verdict-grid": lambda: verdict.grid(verdict.comparisons()),
        "verdicts": lambda: verdict.markdown(verdict.comparisons()),
    },
    "docs/gpu.md": {"gpu": shown("gpu", gpu_table.markdown)},
    "docs/weights.md": {"variance": shown("variance", operator_tables.variance_markdown)},
    "docs/strategies.md": {"strategies": strategy_list.markdown},
    "docs/catalogue.md": {"catalogue": catalogue.markdown},
    "docs/distributed.md": {"ranks": shown("ranks", ranks_table.markdown)},
}
