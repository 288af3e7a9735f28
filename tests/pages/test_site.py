"""`make docs`: the site is built without a warning, and needs nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages.pages import ROOT

pytest.importorskip("mkdocstrings")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_nothing_is_fetched(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?(https?:[^\s\">]*)", page.read_text()
        )
        assert not fetched, page


def test_docstrings_and_formulas_are_rendered(site: Path) -> None:
    page = (site / "reference" / "batch.html").read_text()
    assert 'id="impsamp_fast.Selector"' in page
    assert "<math" in page
    for reference in (site / "reference").rglob("*.html"):
        left = r":(class|func|meth|mod|math):|\\tau|::\s|<strong>-"  # the last of 2**-1, 2**-2
        assert not re.search(left, reference.read_text())
