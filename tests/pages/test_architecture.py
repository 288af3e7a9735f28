"""docs/architecture.md: its table has the folders that there are, and none that are not."""

import re

import pytest

from tests.pages.pages import DOCS, ROOT

PAGE = (DOCS / "architecture.md").read_text()
TREE = PAGE[PAGE.index("## The tree") : PAGE.index("## Where logits go")]
NAMED = set(re.findall(r"`((?:\w+/)?\w+)`", re.sub(r"^(\|[^|]*\|).*$", r"\1", TREE, flags=re.M)))


@pytest.mark.parametrize("package", ["impsamp_fast", "bench"])
def test_every_folder_is_named(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).glob("*/__init__.py")}
    assert {path.relative_to(ROOT).as_posix() for path in folders} <= NAMED


def test_what_is_named_is_there() -> None:
    assert all((ROOT / name).is_dir() for name in NAMED)
