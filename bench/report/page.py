"""`python -m bench report OUT`: what was measured as one HTML page that needs nothing else."""

import argparse
import base64
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from xml.etree.ElementTree import Element

import itables
import vl_convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

from bench.report import browser, charts, readme
from bench.report.files import RESULTS, read_json, write_atomically
from bench.report.machine import commits_of
from bench.report.table import table

TEMPLATE = Path(__file__).with_suffix(".html")
TABLES_LIBRARY = Path(itables.__file__).parent / "html" / "dt_bundle.js"
CHARTS_LIBRARY = "window.vegaEmbed = vegaEmbed;"  # what vl_convert is to make a script for
PICTURES = ("picks.png", "most-picked-*.png")  # of a comparison's directory
TITLES = {  # of parts whose names do not say what they are
    "verdict-short": "Where it paid, and where not",
    "verdict-grid": "every strategy in every training",
    "verdicts": "every comparison",
    "cost-model": "what a step takes and is worth",
    "costs-short": "what calls cost",
    "operator-costs": "all calls",
    "operator-curves": "calls by size",
    "gpu": "calls on a GPU",
    "ranks": "several processes",
    "variance": "variance by way to draw",
}
MACHINE = ("cpu", "gpu", "cores", "threads", "instruction_set", "torch", "python")

NUMBER = re.compile(r"([-+]?\d[\d,]*(?:\.\d+)?)\s*(µs|ms|s)?\b")
SECONDS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0}
NOWHERE = 1e300  # where a row without a number is sorted to


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="the page's file, OUT.html")
    parser.add_argument(
        "directories",
        type=Path,
        nargs="*",
        metavar="DIR",
        help="comparisons to show besides bench/results, as `compare` wrote them",
    )
    parser.add_argument(
        "--screenshot", type=Path, metavar="FILE", help="a picture of a part of it, by Chromium"
    )


def run(args: argparse.Namespace) -> None:
    if args.out.is_dir():
        raise SystemExit(f"{args.out} is a directory: name the page's file in it")
    if args.out.suffix not in (".html", ".htm"):  # without it browsers would not show the page
        raise SystemExit(f"{args.out} does not end in .html")
    for directory in args.directories:
        if not (directory / "table.md").exists():
            raise SystemExit(f"{directory} has no table.md: run `python -m bench compare` first")
    text = page(args.directories)
    write_atomically(args.out, lambda partial: partial.write_text(text, encoding="utf-8"))
    print(args.out)
    if args.screenshot is not None:
        with browser.launched() as chromium:
            browser.screenshot(chromium, args.out, args.screenshot)
        print(args.screenshot)


def page(directories: list[Path]) -> str:
    """The page of bench/results and of these comparisons."""
    parts = list(sections(directories))
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        contents=" ".join(f'<a href="#{name}">{title(name)}</a>' for name, _ in parts),
        sections="\n".join(
            f'<section id="{name}"><h2>{title(name)}</h2>{html}</section>' for name, html in parts
        ),
        directories="".join(f", {escape(str(directory))}" for directory in directories),
        charts_library=vl_convert.javascript_bundle(CHARTS_LIBRARY),
        tables_library=base64.b64encode(TABLES_LIBRARY.read_bytes()).decode(),
    )


def title(name: str) -> str:
    return escape(TITLES.get(name, name.replace("-", " ")))


def sections(directories: list[Path]) -> Iterator[tuple[str, str]]:
    """Names and HTML: verdicts, what else is measured, pictures, comparisons, machines."""
    parts = {name: part for page in readme.PARTS.values() for name, part in page.items()}
    for name in sorted(parts, key=lambda name: not name.startswith("verdict")):
        if name not in readme.FROM_THE_REGISTRY and (text := parts[name]()):
            picture = RESULTS / f"{name}.png"
            is_told = not picture.exists() or picture.name in text
            result = curves(RESULTS / f"{name}.json") + ("" if is_told else images([picture]))
            yield name, result + html_of(text)
    yield "pictures", images(sorted(RESULTS.glob("plot-*.png")))
    for directory in directories:
        found = [path for pattern in PICTURES for path in sorted(directory.glob(pattern))]
        tables = html_of((directory / "table.md").read_text())
        yield directory.name, curves(directory / "results.json") + images(found) + tables
    yield "machines", html_of(machines())


def machines() -> str:
    """What each result was measured on, and at which commit."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        result = read_json(path)
        if machine := result.get("machine"):
            facts = [str(machine.get(fact) or "-") for fact in MACHINE]
            rows.append([path.stem, *facts, commits_of(result)])
    headings = [fact.replace("_", " ") for fact in MACHINE]
    return "\n".join(table(["result", *headings, "measured at"], rows))


def curves(path: Path) -> str:
    """The charts of a comparison; nothing of other results."""
    results: dict[str, Any] = read_json(path) if path.exists() else {}
    if "runs" not in results:
        return ""
    specs = (json.dumps(charts.chart(results, quantity)) for quantity in charts.QUANTITIES)
    each = "".join(f'<div class="chart" data-spec="{escape(spec)}"></div>' for spec in specs)
    return f'<div class="charts">{each}</div>'


def images(paths: list[Path]) -> str:
    return "".join(
        f'<figure><img alt="{title(path.stem)}" src="{data_of(path)}">'
        f"<figcaption>{title(path.stem.removeprefix('plot-'))}</figcaption></figure>"
        for path in paths
    )


def data_of(picture: Path) -> str:
    """A PNG file as an address that has all of it."""
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def html_of(text: str) -> str:
    """Markdown of a page in docs as HTML, with its pictures, and tables that scroll and sort."""
    return Markdown(extensions=["fenced_code", "tables", OnePage()]).convert(text)


class OnePage(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        # After the cells are parsed, before the tree becomes text.
        md.treeprocessors.register(PicturesAndTables(md), "one-page", 5)


class PicturesAndTables(Treeprocessor):
    def run(self, root: Element) -> None:
        for picture in root.iter("img"):
            picture.set("src", data_of(RESULTS / Path(picture.attrib["src"]).name))
        for parent in list(root.iter()):
            for i, child in enumerate(parent):
                if child.tag == "table":
                    mark_order(child)
                    parent[i] = scroll = Element("div", {"class": "scroll"})
                    scroll.append(child)


def mark_order(table: Element) -> None:
    """In columns of numbers, with or without units, each cell gets its number as its order."""
    rows = [row.findall("td") for row in table.iterfind("tbody/tr")]
    for cells in zip(*rows, strict=True):
        numbers = [number_in("".join(cell.itertext())) for cell in cells]
        if 2 * sum(number is not None for number in numbers) > len(cells):
            for cell, number in zip(cells, numbers, strict=True):
                cell.set("data-order", repr(NOWHERE if number is None else number))


def number_in(text: str) -> float | None:
    """The number at the beginning of a cell; times in seconds."""
    found = NUMBER.match(text.strip())
    return found and float(found[1].replace(",", "")) * SECONDS[found[2]]
