"""The code on the pages runs as it stands."""

from pathlib import Path

import pytest
import torch

import impsamp_fast as isf
from impsamp_fast.strategies import registry
from tests.pages.pages import DOCS, PAGES, blocks, getting_started, name_of, run

pytestmark = pytest.mark.usefixtures("one_thread")

# Their code is run, and looked at closer, in modules of tests of their own.
ELSEWHERE = {"README.md", "docs/diagnostics.md", "docs/strategies.md", "docs/trainers.md"}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page) and name_of(page) not in ELSEWHERE], ids=name_of
)
def test_the_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_strategies", dict(registry._strategies))
    # What is fastest is found out elsewhere, with a limit of time.
    monkeypatch.setitem(isf.Selector.tune.__kwdefaults__, "seconds", 0.1)
    torch.manual_seed(0)
    run(page, getting_started())


def test_a_block_that_is_not_run_is_marked_as_that() -> None:
    (example,) = blocks(DOCS / "gpu.md")[1:]
    assert example.needs == "a GPU"
