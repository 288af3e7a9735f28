"""What rows of all ranks cost is measured for each method and kind."""

from bench.operators.ranks import METHODS, OWN, compared
from bench.report.ranks_table import cells
from tests.distributed.conftest import Run


def test_each_method_and_kind_is_measured(run: Run) -> None:
    for rows in run(2, compared, 1, 1):
        assert [row["method"] for row in rows[::3]] == list(METHODS)
        for row in rows:
            assert row["ranks"] == 2
            assert (row["bytes"] == 0) == (row["kind"] == OWN)
            assert cells(row)[0] == "2"
