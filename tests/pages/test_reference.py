"""Every public name is in the reference, once."""

import re

import impsamp_fast as isf
from impsamp_fast import distributed
from tests.pages.pages import DOCS, ROOT


def objects() -> list[str]:
    pages = sorted((DOCS / "reference").glob("*.md"))
    text = "\n".join(page.read_text() for page in pages)
    return re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)


def test_every_public_name_is_there_once() -> None:
    public = {f"impsamp_fast.{name}" for name in isf.__all__ if not name.startswith("_")}
    public |= {f"impsamp_fast.distributed.{name}" for name in distributed.__all__}
    public |= {
        f"impsamp_fast.integrations.{path.stem}"
        for path in (ROOT / "impsamp_fast" / "integrations").glob("[!_]*.py")
    }
    public |= {"impsamp_fast.strategies", "impsamp_fast.plot"}
    assert sorted(objects()) == sorted(public)
