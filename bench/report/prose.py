"""Docstrings in Markdown."""

import functools
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
ROLE = re.compile(r":(class|func|meth|math):`~?(.*?)`", re.DOTALL)
MATH_BLOCK = re.compile(r"^\.\. math:: (.*)$", re.MULTILINE)


def prose(docstring: str) -> str:
    """Sphinx's roles become formulas and links to the reference."""
    text = MATH_BLOCK.sub(lambda found: f"$${found[1]}$$", ROLE.sub(role, docstring))
    return text.replace("``", "`")


def role(found: re.Match[str]) -> str:
    if found[1] == "math":
        return f"${found[2]}$"
    name = found[2] if "." in found[2] else f"impsamp_fast.{found[2]}"
    shown = f"`{name.rpartition('.')[2]}`"
    page = references().get(name.replace(".dataset.", "."))
    return f"[{shown}](reference/{page}#{name})" if page else shown


@functools.cache
def references() -> dict[str, str]:
    """The page of the reference that has each public object."""
    pages = sorted((DOCS / "reference").glob("*.md"))
    return {
        name: page.name
        for page in pages
        for name in re.findall(r"^::: (\S+)$", page.read_text(), flags=re.MULTILINE)
    }
