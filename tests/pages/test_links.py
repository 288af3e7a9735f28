"""Links between the pages lead somewhere, also to headings; none needs the site to be built."""

import re
import unicodedata
from pathlib import Path

import pytest

from tests.pages.pages import DOCS, PAGES, ROOT, name_of

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
OBJECT = re.compile(r"^::: (\S+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def anchor(heading: str) -> str:
    """As MkDocs makes it."""
    text = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def anchors(page: Path) -> set[str]:
    text = page.read_text()
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return {anchor(heading) for heading in HEADING.findall(without_code)} | set(
        OBJECT.findall(text)
    )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if link.startswith(("https://", "http://")):
            continue
        path, _, heading = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.is_file(), f"{link}: no such file"
        assert target.is_relative_to(ROOT)
        if heading:
            assert heading in anchors(target), f"{link}: no such heading"


def test_every_page_can_be_reached() -> None:
    config = (ROOT / "mkdocs.yml").read_text()
    navigation = config[config.index("\nnav:") : config.index("\nmarkdown_extensions:")]
    named = re.findall(r": ([\w./]+\.md)$", navigation, flags=re.MULTILINE)
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert sorted(named) == sorted([*pages, "../CHANGELOG.md"])
