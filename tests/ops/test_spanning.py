"""The kernel of DivBS beside the same choice by operations of torch."""

import pytest
import torch
from torch import Tensor

from impsamp_fast._extension import _C
from impsamp_fast.ops._spanning import spanning_rows, spanning_rows_by_torch

SMALL = {torch.float32: 1e-5, torch.float64: 1e-12}


def problem(K: int, C: int, D: int, n: int, dtype: torch.dtype, without: int = 0) -> tuple:
    """Rows of which the first `without` have no score."""
    generator = torch.Generator().manual_seed(K + C)
    dz, h = (torch.randn(K, width, generator=generator, dtype=dtype) for width in (C, D))
    has_score = torch.arange(K) >= without
    dz, h = (torch.where(has_score.unsqueeze(1), part, 0) for part in (dz, h))
    product = ((dz @ (dz.T @ h / K)) * h).sum(1)
    return dz, h, product, has_score, torch.randperm(K, generator=generator), n, SMALL[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("K", "C", "D", "n"), [(1, 1, 1, 1), (63, 2, 30, 40), (64, 10, 7, 20), (201, 3, 50, 90)]
)
def test_takes_the_same_rows(K, C, D, n, dtype):
    for without in (0, K // 3):
        given = problem(K, C, D, n, dtype, without)
        assert torch.equal(spanning_rows(*given), spanning_rows_by_torch(*given))


def test_goes_on_in_order_where_nothing_is_left():
    dz, h, product, has_score, order, _, small = problem(90, 2, 3, 90, torch.float64, without=20)
    rows = spanning_rows(dz, h, product, has_score, order, 90, small).tolist()
    assert sorted(rows) == list(range(90))
    # The gradients have 2 * 3 numbers.
    rest = rows[6:]
    assert rest == [row for row in order.tolist() if row >= 20 and row in rest] + [
        row for row in order.tolist() if row < 20
    ]


def test_threads_change_nothing():
    given = problem(20_000, 10, 40, 12, torch.float32)
    torch.set_num_threads(1)
    alone = spanning_rows(*given)
    torch.set_num_threads(2)
    assert torch.equal(spanning_rows(*given), alone)


def test_rows_may_be_views():
    dz, h, *rest = problem(70, 4, 6, 9, torch.float32)
    views = torch.cat([dz, h], dim=1).split([4, 6], dim=1)
    assert torch.equal(spanning_rows(*views, *rest), spanning_rows(dz, h, *rest))


def test_opcheck():
    torch.library.opcheck(
        torch.ops.impsamp_fast.spanning_rows.default, problem(20, 3, 5, 4, torch.float32)
    )


@pytest.mark.parametrize(
    ("position", "value", "error", "message"),
    [
        (0, torch.zeros(9), ValueError, r"dz has shape \[9\], but must be \[K, C\]"),
        (0, torch.zeros(9, 2).half(), TypeError, "dz has dtype Half, but must be float32 or"),
        (1, torch.zeros(9, 2).double(), TypeError, "h has dtype Double, but must be Float"),
        (1, torch.zeros(8, 2), ValueError, r"h has shape \[8, 2\], but there are 9 rows"),
        (2, torch.zeros(9, 1), ValueError, r"product has shape \[9, 1\]"),
        (3, torch.zeros(9), TypeError, "has_score has dtype Float, but must be Bool"),
        (4, torch.arange(1, 10), IndexError, r"each of the 9 rows once, but order\[8\] is 9"),
        (4, torch.zeros(9).long(), IndexError, r"order\[1\] is 0"),
        (5, 10, ValueError, "n is 10, but there are 9 rows"),
        (5, 0, ValueError, "n is 0"),
    ],
)
@pytest.mark.parametrize("run", [torch.ops.impsamp_fast.spanning_rows, _C.spanning_rows])
def test_a_wrong_argument_is_named(run, position, value: Tensor | int, error, message):
    given = list(problem(9, 2, 3, 4, torch.float32))
    given[position] = value
    with pytest.raises(error, match=message):
        run(*given)
