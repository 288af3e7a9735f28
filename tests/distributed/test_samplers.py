"""Ranks that share what training shows have the memory of one process."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from impsamp_fast import InfoBatch, strategies
from impsamp_fast._readback import Updates
from impsamp_fast.dataset._shared import SharedUpdates
from impsamp_fast.dataset.sampler import DatasetSampler
from impsamp_fast.distributed._ranks import Ranks
from tests.distributed.conftest import Run

SIZE, C, N, EPOCHS = 103, 4, 6, 3


def make(name: str, place: tuple[int, int], seed: int = 5) -> DatasetSampler:
    sampler: DatasetSampler = strategies.make(name, SIZE, epochs=EPOCHS, classes=C, seed=seed)
    return sampler.shard(*place, alone=place == (0, 1))


def shown(index: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets and losses of samples in a step."""
    generator = torch.Generator().manual_seed(step)
    logits = torch.randn(SIZE, C, generator=generator)[index]
    return logits, index % C, torch.rand(SIZE, generator=generator)[index]


def learn(sampler: DatasetSampler, index: Tensor, step: int) -> None:
    logits, target, losses = shown(index, step)
    sampler.update(index, logits, target, losses=losses)


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, Tensor):
        return torch.equal(found.nan_to_num(-1.0), expected.nan_to_num(-1.0))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same(found[key], expected[key]) for key in expected
        )
    return bool(found == expected)


def train(group: Any, name: str, every_step: bool) -> list[str]:
    """What is different from one process that trains on the ranks' mini-batches, one by one."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    own, alone = make(name, (rank, size)), make(name, (0, 1))
    wrong, step = [], 0
    for epoch in range(EPOCHS):
        own.set_epoch(epoch)
        alone.set_epoch(epoch)
        whole, pending = iter(alone), []
        for batch in own.batches(N, drop_last=False):
            every: list[Any] = [None] * size
            dist.all_gather_object(every, batch, group=group)
            picked = [index for together in zip(*every, strict=True) for index in together]
            expected = [index for _, index in zip(picked, whole, strict=False)]
            if picked[: len(expected)] != expected:
                wrong.append(f"other indices in step {step}")
            learn(own, torch.tensor(batch), step)
            pending.append((every, step))
            step += 1
            if every_step:
                share(own, alone, pending, group)
        share(own, alone, pending, group)
        if next(whole, None) is not None:
            wrong.append(f"epoch {epoch} is too short")
    state, there = own.state_dict(), alone.state_dict()
    return wrong + [key for key in ("memory", "tables") if not same(state[key], there[key])]


def share(
    own: DatasetSampler,
    alone: DatasetSampler,
    pending: list[tuple[list[list[int]], int]],
    group: Any,
) -> None:
    own.sync(group)
    for every, step in pending:
        for batch in every:
            learn(alone, torch.tensor(batch), step)
    pending.clear()


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("name", strategies.names("dataset"))
def test_all_ranks_have_the_memory_of_one_process(run: Run, name: str, every_step: bool) -> None:
    assert run(3, train, name, every_step) == [[]] * 3


def exchange(group: Any) -> list[list[float]]:
    """What becomes of indices that float32, or float64, could not hold."""
    rank = dist.get_rank(group)
    made: list[list[float]] = []

    def apply(index: Tensor, value: Tensor | None, label: Tensor | None) -> None:
        assert value is not None
        assert label is None
        made.append([*index.tolist(), *value.tolist()])

    updates = Updates(apply)
    shared = SharedUpdates(updates)
    for step in range(rank):  # none on rank 0, one on rank 1, two on rank 2
        index = torch.tensor([(1 << 62) + 10 * rank + step, (1 << 24) + 1])
        updates.add(index, torch.tensor([0.5, 1 / 3]).to(torch.bfloat16 if step else None), None)
    shared.exchange(Ranks(group), {})
    assert shared.count == 0
    return made


def test_indices_stay_integers(run: Run) -> None:
    third, half_third = float(torch.tensor(1 / 3)), float(torch.tensor(1 / 3).bfloat16())
    odd = (1 << 24) + 1
    first = [(1 << 62) + 10, odd, 0.5, third]
    second = [(1 << 62) + 20, odd, 0.5, third]
    last = [(1 << 62) + 21, odd, 0.5, half_third]
    assert run(3, exchange) == [[first, second, last]] * 3


def fail(group: Any, kind: str) -> tuple[str, list[float]]:
    """The error of a rank, and the losses that it knows of after it."""
    rank = dist.get_rank(group)
    sampler = InfoBatch(10, 5, seed=rank if kind == "seed" else 0).shard(rank, 2)
    sampler.update(torch.tensor([rank]), losses=torch.tensor([2.0]))
    faulty = torch.nan if rank == 1 else 1.0
    sampler.update(torch.tensor([2 + rank]), losses=torch.tensor([faulty]))
    sampler.update(torch.tensor([4 + rank]), losses=torch.tensor([3.0]))
    with pytest.raises(ValueError) as raised:
        sampler.sync(group)
    return str(raised.value), sampler.memory.loss.nan_to_num(-1.0).tolist()


def test_a_faulty_update_is_left_out_by_all(run: Run) -> None:
    for told, loss in run(2, fail, "nan"):
        assert "is nan" in told
        assert loss == [2, 2, 1, -1, 3, 3, -1, -1, -1, -1]


def test_ranks_must_draw_by_one_seed(run: Run) -> None:
    for told, _ in run(2, fail, "seed"):
        assert told.startswith("seed is 0 on rank 0, but 1 on rank 1: it must be the same")


def place_of(group: Any) -> tuple[int, int]:
    sampler = InfoBatch(40, 5, seed=0)
    return len(list(sampler)), len(sampler)


def test_the_process_group_says_which_share_it_is(run: Run) -> None:
    assert run(4, place_of) == [(10, 10)] * 4


def learn_by_a_trainer(group: Any) -> tuple[list[int], list[list[float]]]:
    """A rank's share of a whole epoch, dealt out by the trainer, and what is known after it."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    known, picked = [], []
    for alone in (False, True):
        sampler = InfoBatch(10, 5, seed=0).shard(0, 1, alone=alone)
        picked = list(sampler)
        sampler.update(torch.tensor(picked[rank::size]), losses=torch.full((5,), 1.0 + rank))
        sampler.sync(group)
        known.append(sampler.memory.loss.nan_to_num(-1.0).tolist())
    return picked, known


def test_a_whole_epoch_that_a_trainer_deals_out_is_shared(run: Run) -> None:
    (picked, first), (_, second) = run(2, learn_by_a_trainer)
    expected = torch.empty(10)
    expected[picked] = torch.tensor([1.0, 2.0]).repeat(5)
    assert first[0] == second[0] == expected.tolist()
    assert -1.0 in first[1]
    assert first[1] != second[1]
