"""The page of all strategies: nothing of the registry is missing, and docstrings are Markdown."""

from bench.report import catalogue, verdict
from bench.report.prose import prose
from impsamp_fast import strategies
from tests.bench import made_up


def test_every_strategy_has_an_equation_and_its_papers_with_their_titles() -> None:
    for name in strategies.names():
        strategy = strategies.get(name)
        entry = catalogue.entry(strategy, [])
        assert entry.startswith(f"### `{name}`\n")
        assert "$" in entry, name
        assert entry.count("Paper: ") == len(catalogue.papers(strategy))


def test_parameters_have_their_defaults() -> None:
    entry = catalogue.entry(strategies.get("kf18-biased"), [])
    assert "- `k = 0.5`: 1 is unbiased" in entry
    assert "options" not in entry
    assert "TypeError" not in entry


def test_results_are_those_of_the_comparisons_that_it_is_in() -> None:
    results = made_up.paper_results() | {"target": 0.75}
    results["settings"]["pool"] = 100
    judged = [verdict.judge(results)]
    entry = catalogue.entry(strategies.get("kf18"), judged)
    assert entry.endswith("- two-circles, 100 samples: 0.75, too few seeds")
    assert "two-circles" not in catalogue.entry(strategies.get("el2n"), judged)


def test_a_docstring_has_formulas_and_links() -> None:
    text = "By :math:`G_i`, see :func:`~impsamp_fast.draw` and ``seed``.\n\n.. math:: a + b"
    link = "[`draw`](reference/operators.md#impsamp_fast.draw)"
    assert prose(text) == f"By $G_i$, see {link} and `seed`.\n\n$$a + b$$"
    assert prose(":class:`Unknown`") == "`Unknown`"
