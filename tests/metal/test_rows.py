"""The row kernels of Metal, run on the host: what is asked of CUDA's (tests/cuda/test_rows.py).

And where one way to share out a row among threads ends and another begins.
"""

import pytest
import torch

from impsamp_fast.ops import _metal_rows
from tests.cuda.test_rows import *  # noqa: F403
from tests.cuda.test_rows import assert_like_reference
from tests.metal.device import MetalDevice


@pytest.mark.parametrize(
    ("rows", "classes", "team", "slices"),
    [
        *((5, 8, 1, 1), (5, 9, 2, 1), (5, 128, 16, 1), (5, 129, 32, 1), (5, 256, 32, 1)),
        *((5, 257, 32, 1), (5, 1024, 32, 1), (5, 1025, 256, 1), (600, 2048, 32, 1)),
        *((600, 2049, 256, 1), (1, 8191, 256, 1), (1, 8192, 256, 2), (1, 8193, 256, 2)),
    ],
)
def test_every_way_to_share_out_a_row(
    one_order: MetalDevice, rows: int, classes: int, team: int, slices: int
) -> None:
    logits, target = torch.randn(rows, classes), torch.randint(classes, (rows,))
    given = _metal_rows.Rows(logits, target, None, None, 0.0, None, 0.0)
    spread = _metal_rows.spread_of(given)
    assert (spread.team, spread.slices) == (team, slices)
    if rows < 600:  # so many would take long here
        one_order.multiprocessors = 32  # as many threads as `spread_of` believes in
        assert_like_reference(one_order, logits, target)
        one_order.multiprocessors = 8
