"""The checks that come before the times on a GPU: they hold, and they notice."""

from typing import Any

import pytest
import torch

import impsamp_fast
from bench.operators.gpu import checks

CPU = torch.device("cpu")


def test_the_checks_hold_on_the_cpu() -> None:
    rows = [(100, 3, torch.float32), (100, 300, torch.bfloat16)]
    found = checks.run(CPU, rows, [100, 3000])["checks"]
    assert len(found) == 2 + 2 * (6 + 2)
    assert all(check["ok"] for check in found), found


def test_a_check_notices_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not checks.verdict("x", float("nan"), 1.0)["ok"]
    truth = torch.ones(3).double()
    assert checks.relative_error(torch.tensor([1.0, float("nan"), 1.0]), truth) == torch.inf
    assert checks.relative_error(torch.tensor([1.0, 1.0, 1.5]), truth) == 0.5
    right = impsamp_fast.row_stats

    def wrong(*arguments: Any) -> impsamp_fast.RowStats:
        stats = right(*arguments)
        return stats._replace(loss=stats.loss * 1.00001)

    monkeypatch.setattr(impsamp_fast, "row_stats", wrong)
    assert not checks.row_check(50, 3, torch.float32, CPU)["ok"]
