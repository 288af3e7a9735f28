"""Ranks draw by seeds of their own, which are made of one that all of them have."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from impsamp_fast import Selector, strategies
from impsamp_fast._seeds import seed_of_rank, seed_of_step
from impsamp_fast.batch.strategy import BatchStrategy
from tests.distributed.conftest import Run
from tests.distributed.training import large_batch, make_model

N = 16


def picks(strategy: BatchStrategy, steps: int = 4) -> list[list[int]]:
    """The rows of the same large batches on all ranks."""
    loader = (large_batch(0, step) for step in range(steps))
    return [batch.index.tolist() for batch in strategy.batches(loader)]


def pick(group: Any, name: str, seed: int | None, options: dict[str, Any]) -> list[list[int]]:
    return picks(strategies.make(name, make_model(), N, seed=seed, **options))


@pytest.mark.parametrize("name", ["kf18", "selective-backprop", "random-subset"])
@pytest.mark.parametrize("seed", [3, None])
def test_ranks_pick_different_rows(run: Run, name: str, seed: int | None) -> None:
    every = run(4, pick, name, seed, {})
    assert len({str(rows) for rows in every}) == 4


def test_ranks_may_be_told_to_pick_the_same(run: Run) -> None:
    first, second = run(2, pick, "kf18", 3, {"rank": 1})
    assert first == second
    assert first == run(2, pick, "kf18", 3, {})[1]


def resume(group: Any) -> tuple[list[list[int]], list[list[int]]]:
    """The rows of an uninterrupted run, and of one that goes on from rank 0's state."""
    selector = Selector(make_model(), N, seed=5)
    uninterrupted = picks(selector, 4) + picks(selector, 2)
    first = Selector(make_model(), N, seed=5)
    states: list[Any] = [picks(first, 4) and first.state_dict()]
    dist.broadcast_object_list(states, src=0, group=group)
    second = Selector(make_model(), N, seed=9)
    second.load_state_dict(states[0])
    return uninterrupted[4:], picks(second, 2)


def test_the_rank_is_no_part_of_the_state(run: Run) -> None:
    every = run(2, resume)
    for uninterrupted, resumed in every:
        assert uninterrupted == resumed
    assert every[0] != every[1]


def test_one_process_draws_by_the_seed_itself() -> None:
    assert seed_of_rank(5, 0) == 5
    model = make_model()
    assert picks(Selector(model, N, seed=5)) == picks(Selector(model, N, seed=5, rank=0))


def test_no_rank_is_another_some_steps_later() -> None:
    seeds = {seed_of_step(seed_of_rank(7, rank), step) for rank in range(64) for step in range(64)}
    assert len(seeds) == 64 * 64
    assert all(0 <= seed < 2**64 for seed in seeds)


@pytest.mark.parametrize(("rank", "error"), [(-1, ValueError), (0.5, TypeError)])
def test_a_rank_is_a_number_from_0(rank: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="rank is"):
        Selector(torch.nn.Linear(5, 3), N, rank=rank)
