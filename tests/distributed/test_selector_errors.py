"""What a selector of all ranks refuses, and that what is wrong on one of them is raised on all."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast import (
    After,
    EvolvedScore,
    LossRatio,
    LossSplit,
    PickCounts,
    Selector,
    Together,
)
from tests.distributed.conftest import Run
from tests.distributed.training import N, plain_model, rows_on


def errors(group: Any, kind: str) -> str:
    """The error of a rank, after which all of them can go on."""
    rank = dist.get_rank(group)
    options: dict[str, Any] = {"small_batch": "skip"} if kind == "skip" else {}
    selector = Selector(plain_model(), N, group=group, seed=0, **options)
    x, y = rows_on(rank, 0)
    wrong_x, wrong_y = x, y
    match (kind, rank):
        case ("target", 1):
            wrong_y = y.masked_fill(torch.arange(64) == 5, 7)
        case ("sizes", 0):
            wrong_x = x[:3]
        case ("nan", 1):
            wrong_x = x * torch.nan
        case ("few" | "skip", _):
            wrong_x, wrong_y = x[:5], y[:5]
    if kind == "skip":
        assert selector(wrong_x, wrong_y) is None
        return "skipped"
    with pytest.raises((ValueError, IndexError)) as raised:
        selector(wrong_x, wrong_y)
    selector(x, y)
    return str(raised.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("target", "target[5] is 7"),
        ("sizes", "x has shape [3, 5], but y has 64 rows"),
        ("nan", "logits[0, 0] is"),
        ("few", "the large batch has only 10 rows"),
        ("skip", "skipped"),
    ],
)
def test_what_is_wrong_on_one_rank_is_raised_on_all(run: Run, kind: str, message: str) -> None:
    for told in run(2, errors, kind):
        assert message in told


def too_few(group: Any, rows: int) -> tuple[Any, Any]:
    """What comes of rows that nobody scores: they are too few, and their logits are NaN."""
    x, y = torch.full((rows, 5), torch.nan, dtype=torch.float64), torch.zeros(rows).long()
    skips = Selector(plain_model(), N, group=group, seed=0, small_batch="skip")(x, y)
    takes = Selector(plain_model(), N, group=group, seed=0, small_batch="all")
    return skips, takes(x, y).weight.tolist() if rows else None


def test_too_few_rows_are_not_scored(run: Run) -> None:
    assert run(2, too_few, 2) == [(None, [1.0, 1.0])] * 2
    assert run(2, too_few, 0) == [(None, None)] * 2


def differ(group: Any, kind: str) -> str:
    """What ranks say that are not alike, after which those that are alike go on."""
    rank = dist.get_rank(group)
    x, y = rows_on(rank, 0)
    options: dict[str, Any] = {"exchange": rank == 1} if kind == "exchange" else {}
    selector = Selector(plain_model(), N, group=group, seed=0, start=After(1), **options)
    if kind == "step" and rank == 0:
        state = selector.state_dict()
        selector.load_state_dict(state | {"step": 1})
    with pytest.raises(ValueError) as raised:
        selector(x, y)
    Selector(plain_model(), N, group=group, seed=0)(x, y)
    return str(raised.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("exchange", "a row of x, y and index is not given on rank 0, but"),
        ("step", "step is 1 on rank 0, but 0 on rank 1"),
    ],
)
def test_ranks_that_are_not_alike_are_told(run: Run, kind: str, message: str) -> None:
    for told in run(2, differ, kind):
        assert told.startswith(message)


def refuse(group: Any, options: dict[str, Any]) -> str:
    with pytest.raises(ValueError) as raised:
        Selector(plain_model(), 5, group=group, **options)
    return str(raised.value)


def fail_to_exchange(group: Any, kind: str) -> str:
    """The error where rows are not alike, after which all ranks can go on."""
    selector = Selector(Named(), N, group=group, exchange=True, seed=0)
    x, y = rows_on(0, 0)
    parts, numbers = {"x": x, "z": x.float()}, torch.arange(64)
    batch: list[Any] = [parts, y, numbers]
    if dist.get_rank(group) == 1:
        match kind:
            case "width":
                batch[0] = parts | {"z": x[:, :2].float()}
            case "dtype":
                batch[0] = parts | {"z": x}
            case "order":
                batch[0] = dict(reversed(parts.items()))
            case "target":
                batch[1] = F.one_hot(y, 3).double()
            case "index":
                batch[2] = None
    with pytest.raises(ValueError) as raised:
        selector(*batch)
    selector(parts, y, numbers)
    return str(raised.value)


class Named(nn.Module):
    """A model of named parts."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = plain_model()

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("kind", ["width", "dtype", "order", "target", "index"])
def test_rows_that_are_not_alike_are_not_exchanged(run: Run, kind: str) -> None:
    for told in run(2, fail_to_exchange, kind):
        assert told.startswith("a row of x, y and index is [{'x': ([5], torch.float64), 'z': ")


def count_outside(group: Any) -> str:
    selector = Selector(plain_model(), N, group=group, counts=PickCounts(64), seed=0)
    x, y = rows_on(dist.get_rank(group), 0)
    with pytest.raises(IndexError) as raised:
        selector(x, y, torch.arange(64) + dist.get_rank(group))
    selector(x, y, torch.arange(64))
    return str(raised.value)


def test_an_index_outside_the_data_set_is_told_by_all(run: Run) -> None:
    first, second = run(2, count_outside)
    assert second == "index[63] is 64, but there are 64 samples"
    assert first == f"on rank 1: {second}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": EvolvedScore()}, "score is EvolvedScore("),
        ({"start": Together(LossRatio(0.5))}, "Together with another group"),
        ({"method": LossSplit()}, "method is LossSplit()"),
        ({"batches_per_pool": 2}, "batches_per_pool is 2"),
        ({"whole_uniform": True}, "whole_uniform is True"),
        ({"on_fault": "skip"}, "on_fault is 'skip'"),
        ({"rank": 1}, "rank is 1"),
        ({"exchange": True}, "n is 5, but exchange=True shares it out equally among 2 ranks"),
        ({"exchange": True, "small_batch": "all"}, "small_batch is 'all'"),
    ],
)
def test_what_ranks_cannot_do_together_is_refused(
    run: Run, options: dict[str, Any], message: str
) -> None:
    for told in run(2, refuse, options):
        assert message in told


def decide_in_its_group(group: Any) -> bool:
    for own, there in ((group, group), (dist.group.WORLD, None)):
        start = Together(LossRatio(0.5), there)
        Selector(plain_model(), N, group=own, start=start)
    return True


def test_together_in_the_same_group_is_taken(run: Run) -> None:
    assert run(2, decide_in_its_group) == [True, True]


def test_rows_are_exchanged_in_a_group_only() -> None:
    with pytest.raises(ValueError, match="only the ranks of a group exchange rows"):
        Selector(plain_model(), N, exchange=True)
