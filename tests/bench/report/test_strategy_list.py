"""The list of strategies for readers: papers, formulas, memory."""

import pytest
import torch

from bench.report import strategy_list
from impsamp_fast import strategies
from tests.dataset.memories import learned


@pytest.mark.parametrize(
    ("authors", "expected"),
    [
        ("Hinton, Geoffrey", "Hinton 2006"),
        ('Knutsson, Alex and\n  Unneb{\\"a}ck, Jakob', "Knutsson and Unnebäck 2006"),
        ("Smed{\\aa}s, Halvor and B, C and D, E", "Smedås et al. 2006"),
        ("Fran{\\c{c}}ois, Ana", "François 2006"),
    ],
)
def test_papers_are_named_by_authors_and_year(authors: str, expected: str) -> None:
    entry = f"@article{{key,\n  author = {{{authors}}},\n  title  = {{T}},\n  year   = {{2006}}\n}}"
    assert strategy_list.source(entry) == expected


def test_a_paper_without_authors_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no author or no year in @misc"):
        strategy_list.source("@misc{key, year = {2006}}")


def test_what_a_strategy_needs_is_said() -> None:
    needs = {name: strategy_list.needs(strategies.get(name)) for name in strategies.names()}
    assert {name: text for name, text in needs.items() if text} == {
        "rho-loss": "; needs `irreducible=`",
        "es": "; calls need `index`",
    }


@pytest.mark.parametrize("name", strategies.names("dataset"))
def test_bytes_per_sample_are_those_of_a_state(name: str) -> None:
    """At the begin of an epoch a state holds all: memory, tables, and the order where drawn."""
    size = 1000
    sampler = strategies.make(name, size, epochs=20, classes=10, seed=0)
    next(iter(sampler))
    order = size * torch.int32.itemsize
    total = sum(tensor.nbytes for tensor in learned(sampler).values()) + order
    assert total == size * strategy_list.bytes_per_sample(strategies.get(name))
