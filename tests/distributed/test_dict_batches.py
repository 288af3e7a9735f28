"""Dict batches with their target, from which all ranks draw."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from impsamp_fast import Selector
from tests.distributed.conftest import Run
from tests.distributed.test_selector_errors import Named
from tests.distributed.training import N, rows_on


def take_dicts(group: Any, exchange: bool) -> str:
    """Trains on dicts with their target, one of which lacks it."""
    selector, plain = (
        Selector(Named(), N, group=group, exchange=exchange, target=target, seed=0)
        for target in ("y", None)
    )
    x, y = rows_on(dist.get_rank(group), 0)
    parts = {"x": x, "z": x.float()}
    batch, expected = selector({**parts, "y": y}), plain(parts, y)
    assert torch.equal(batch.index, expected.index)
    assert torch.equal(batch.inputs["y"], batch.y)
    assert torch.equal(batch.x["z"], expected.x["z"])
    with pytest.raises(KeyError) as raised:
        selector(parts if dist.get_rank(group) else {**parts, "y": y})
    return str(raised.value)


@pytest.mark.parametrize("exchange", [False, True])
def test_a_dict_has_its_target_on_all_ranks(run: Run, exchange: bool) -> None:
    for told in run(2, take_dicts, exchange):
        assert "the batch has no" in told
