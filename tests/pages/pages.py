"""README.md and docs, and the code on them."""

import re
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
# What a page says before a block that needs what a test has not, and why.
NOT_RUN = re.compile(r"<!-- not run: (.+) -->\n\Z")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code, how many lines are before it, and what it needs that tests have not."""

    code: str
    line: int
    needs: str | None


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for block in BLOCK.finditer(text):
        before = text[: block.start(1)]
        mark = NOT_RUN.search(text[: block.start()])
        found.append(Block(block[1], before.count("\n"), mark[1] if mark else None))
    return found


def code_in(text: str) -> list[str]:
    return [block[1] for block in BLOCK.finditer(text)]


def run(page: Path, names: dict[str, Any]) -> None:
    """Runs the code of a page, one block after the other."""
    for block in blocks(page):
        # An error is then told with the page's line.
        compiled = compile("\n" * block.line + block.code, name_of(page), "exec")
        if block.needs is None:
            exec(compiled, names)


def getting_started() -> dict[str, Any]:
    """What the first example of Getting started leaves behind, which other pages go on from."""
    names: dict[str, Any] = {}
    exec(code_in((DOCS / "index.md").read_text())[0], names)
    return names
