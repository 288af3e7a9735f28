"""What README.md says about strategies: the list is the registry's, and the code runs as it is."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.report import strategy_list
from impsamp_fast import Selector, dataset, strategies
from impsamp_fast.strategies import registry

README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.partition("## Strategies of the literature by name")[2].partition("\n## ")[0]
LOOPS, OWN = SECTION.split("### Your own")


def code_in(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def names_of_the_first_example() -> dict[str, Any]:
    """What the example at the top of README leaves behind, with fewer samples."""
    example, *_ = code_in(README)
    names: dict[str, Any] = {}
    exec(example, names)
    names["x"], names["y"] = names["x"][:2048], names["y"][:2048]
    return names


def test_every_strategy_is_listed_with_its_paper() -> None:
    for name in strategies.names():
        (line,) = re.findall(rf"^- `{name}`: (.*)$", SECTION, flags=re.MULTILINE)
        years = re.findall(r"year\s*=\s*{(\d+)}", strategies.citation(name))
        assert years == re.findall(r"(\d{4})(?=[;)])", line)


def test_the_loops_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_of_the_first_example()
    listing, batch_level, own_score, dataset_level = code_in(LOOPS)
    exec(listing, names)
    printed = capsys.readouterr().out
    assert strategies.get("kf18").description in printed
    assert strategies.citation("kf18", "top-k") in printed

    exec(batch_level, names)
    assert names["batch"].y.shape == (128,)

    exec(own_score, names)
    assert isinstance(names["strategy"], Selector)
    assert names["batch"].y.shape == (128,)

    exec(dataset_level, names)
    assert isinstance(names["sampler"], dataset.InfoBatch)
    state = torch.load("run.pt", weights_only=True)["sampler"]
    assert state["epoch"] == 19
    assert torch.equal(state["memory"]["loss"], names["sampler"].memory.loss)
    names["sampler"].state_dict(position=128 * 3)  # as the text says


def test_the_strategy_of_your_own_is_new_short_and_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = code_in(OWN)
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
