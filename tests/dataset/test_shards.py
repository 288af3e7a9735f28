"""The ranks' shares of an epoch: the same epoch on all ranks, and as many indices for each."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from impsamp_fast import Bandit, InfoBatch, OnlineBatchSelection, WithIndex
from impsamp_fast.dataset.sampler import DatasetSampler
from tests.dataset.own_samplers import Ranges

SIZE = 101
SAMPLERS: dict[str, Callable[[], DatasetSampler]] = {
    "shuffled": lambda: InfoBatch(SIZE, 5, seed=3),
    "in blocks": lambda: Bandit(SIZE, block=10, seed=3),
    "by rank": lambda: OnlineBatchSelection(SIZE, 5, warm_up=0, seed=3),
}
every_sampler = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
every_size = pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])


def rounds(shares: list[list[int]]) -> list[int]:
    """The indices of all ranks in the order in which they are handed out."""
    return [index for together in zip(*shares, strict=True) for index in together]


@every_sampler
@every_size
def test_shares_are_equally_long_parts_of_one_epoch(
    make: Callable[[], DatasetSampler], ranks: int
) -> None:
    samplers = [make().shard(rank, ranks) for rank in range(ranks)]
    whole = list(make())
    shares = [list(sampler) for sampler in samplers]
    assert [len(share) for share in shares] == [-(-SIZE // ranks)] * ranks
    assert [len(sampler) for sampler in samplers] == [-(-SIZE // ranks)] * ranks
    assert rounds(shares)[:SIZE] == whole
    assert set(rounds(shares)[SIZE:]) <= set(whole[-ranks:])


def test_an_epoch_of_fewer_indices_than_ranks() -> None:
    shares = [list(InfoBatch(2, 5, seed=0).shard(rank, 5)) for rank in range(5)]
    assert [len(share) for share in shares] == [1] * 5
    assert {index for share in shares for index in share} == {0, 1}


@every_sampler
@pytest.mark.parametrize(("before", "after"), [(2, 2), (3, 2), (2, 3), (4, 1), (1, 4)])
def test_a_state_goes_on_with_another_number_of_ranks(
    make: Callable[[], DatasetSampler], before: int, after: int
) -> None:
    whole = list(make())
    samplers = [make().shard(rank, before) for rank in range(before)]
    for sampler in samplers:
        indices = iter(sampler)
        for _ in range(10):
            next(indices)
    states = [sampler.state_dict() for sampler in samplers]
    assert all(state["position"] == 10 * before for state in states)
    resumed = [make().shard(rank, after) for rank in range(after)]
    for sampler in resumed:
        sampler.load_state_dict(states[-1])
    rest = rounds([list(sampler) for sampler in resumed])
    assert rest[: SIZE - 10 * before] == whole[10 * before :]


def test_a_position_is_that_of_all_ranks() -> None:
    sampler = InfoBatch(SIZE, 5, seed=3).shard(1, 2)
    loader = DataLoader(WithIndex(range(SIZE)), batch_size=8, sampler=sampler, num_workers=1)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    del batches
    resumed = InfoBatch(SIZE, 5, seed=9).shard(1, 2)
    resumed.load_state_dict(sampler.state_dict(position=2 * 3 * 8))
    whole = list(InfoBatch(SIZE, 5, seed=3))
    assert list(resumed)[:20] == whole[2 * 3 * 8 + 1 :: 2][:20]


@pytest.mark.parametrize(
    ("place", "error"), [((2, 2), ValueError), ((-1, 2), ValueError), ((0, 0), ValueError)]
)
def test_a_rank_is_one_of_the_world(place: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        InfoBatch(SIZE, 5).shard(*place)


def test_what_is_not_shared_is_told() -> None:
    sampler = InfoBatch(SIZE, 5, seed=0).shard(0, 2)
    index = next(iter(DataLoader(range(SIZE), batch_size=4, sampler=sampler)))
    sampler.update(index, losses=torch.rand(4))
    assert sampler.memory.loss.isnan().all()
    for use in (sampler.state_dict, lambda: next(iter(sampler))):
        with pytest.raises(RuntimeError, match=r"1 updates of this rank .* call sync\(\)"):
            use()


def test_a_single_process_shares_nothing() -> None:
    sampler = InfoBatch(SIZE, 5, seed=0)
    sampler.update(torch.tensor([3]), losses=torch.tensor([2.0]))
    sampler.sync()
    assert sampler.memory.loss[3] == 2


def test_a_sampler_without_a_memory_has_none_to_share() -> None:
    sampler = Ranges(100)
    sampler.sync()
    with pytest.raises(NotImplementedError, match="Ranges has no memory to share"):
        sampler.shard(0, 2).sync()
