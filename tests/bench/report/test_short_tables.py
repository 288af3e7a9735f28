"""The README's table of what calls cost."""

from bench.report import short_tables


def test_peers_that_were_not_measured_have_no_row() -> None:
    times = {name: {"median": median} for name, median in (("impsamp_fast", 4.0), ("one", 1.0))}
    cases = [{"name": "a case", "microseconds": times}]
    wanted = [("a case", "one"), ("a case", "another"), ("another case", "one")]
    assert short_tables._picked(cases, wanted) == [["a case", "4.0 µs", "one", "1.0 µs", "0.25"]]
