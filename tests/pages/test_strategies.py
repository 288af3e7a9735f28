"""docs/strategies.md and extending.md: the list is the registry's, and the code runs as it is."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.report import strategy_list
from impsamp_fast import dataset, strategies
from impsamp_fast.strategies import registry
from tests.pages.pages import DOCS, code_in, getting_started

PAGE = DOCS / "strategies.md"


def test_every_strategy_is_listed_with_its_paper() -> None:
    for name in strategies.names():
        (line,) = re.findall(
            rf"^- \[`{name}`\]\(catalogue.md#{name}\): (.*)$", PAGE.read_text(), flags=re.MULTILINE
        )
        years = re.findall(r"year\s*=\s*{(\d+)}", strategies.citation(name))
        assert years == re.findall(r"(\d{4})(?=[;)])", line)


def test_the_loops_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = getting_started()
    names["x"], names["y"] = names["x"][:2048], names["y"][:2048]
    listing, batch_level, dataset_level = code_in(PAGE.read_text())
    exec(listing, names)
    printed = capsys.readouterr().out
    assert strategies.get("kf18").description in printed
    assert strategies.citation("kf18", "top-k") in printed

    exec(batch_level, names)
    assert names["batch"].y.shape == (128,)

    exec(dataset_level, names)
    assert isinstance(names["sampler"], dataset.InfoBatch)
    state = torch.load("run.pt", weights_only=True)["sampler"]
    assert state["epoch"] == names["epochs"] - 1
    assert torch.equal(state["memory"]["loss"], names["sampler"].memory.loss)
    names["sampler"].state_dict(position=128 * 3)  # as the text says


def test_the_strategy_of_your_own_is_new_short_and_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = (code for code in code_in((DOCS / "extending.md").read_text()) if "@" in code)
    assert len(code.splitlines()) < 40
    monkeypatch.setattr(registry, "_strategies", dict(registry._strategies))
    before = strategies.names()
    names: dict[str, Any] = {}
    exec(code, names)
    assert strategies.names() == [*before, "focal"]
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()
    assert strategy_list.source(strategies.citation("focal")) == "Lin et al. 2017"
