"""The tables of the paper's strategies, from results made up."""

import math

import pytest

from bench.report import paper_tables
from bench.report import results as results_of
from tests.bench import made_up


def test_summary_agrees_with_numbers_worked_out_by_hand() -> None:
    results = made_up.paper_results()
    results["target"] = results_of.target(results, None)
    assert results["target"] == pytest.approx((0.76 + 0.74) / 2)
    assert results_of.target(results, 0.9) == 0.9

    uniform, good, bad = paper_tables.summarise(results)
    assert uniform["accuracy"] == pytest.approx(0.75)
    assert uniform["accuracy_deviation"] == pytest.approx(0.02 / math.sqrt(2))
    # Seed 0 ends at 0.76 and passes 0.75 only then; seed 1 ends at 0.74.
    assert (uniform["reached"], uniform["steps_to_target"]) == (1, 80)
    assert uniform["share_of_uniform"] is None

    assert (good["reached"], good["steps_to_target"]) == (2, 60)
    assert good["seconds_to_target"] == pytest.approx((6 + 12) / 2)
    assert good["share_of_uniform"] == pytest.approx(9 / ((8 + 24) / 2))
    assert good["select_share"] == pytest.approx(0.2)

    assert (bad["reached"], bad["runs"]) == (1, 2)
    assert bad["share_of_uniform"] is None  # a mean over the lucky seed only would flatter it


def test_tables_show_the_summary() -> None:
    results = made_up.paper_results()
    results["target"] = results_of.target(results, None)
    results["summary"] = paper_tables.summarise(results)
    lines = paper_tables.markdown(results).splitlines()
    cells = {
        row[0]: row[1:]
        for row in ([c.strip() for c in line.strip("|").split("|")] for line in lines[3:8])
    }
    assert cells["strategy"][:2] == ["correction", "start rule"]
    assert cells["uniform"][:2] == ["none", "-"]
    settings, outcome = cells["good"][:2], cells["good"][2:]
    assert settings == ["unbiased", "variance:1.5"]
    assert outcome == ["90.00% ± 0.00", "80", "50%", "12.00 s", "60", "9.00 s", "0.56"]
    assert cells["bad"][6:] == ["60 (1 of 2 runs)", "6.00 s (1 of 2 runs)", "-"]
    assert (
        "| good     |       1 |      2 |      3 |     4 |     0 |   10 |          20.0% |" in lines
    )
