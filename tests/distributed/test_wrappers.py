"""What models are wrapped in, and how their gradients come together."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from impsamp_fast import LossRatio, MiniBatch, Selector, Together
from tests.distributed.conftest import Run
from tests.distributed.training import large_batch

N, K, STEPS = 12, 32, 4


def make_model() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()


def rows_on(rank: int, step: int) -> tuple[Tensor, Tensor]:
    x, y = large_batch(rank, step, K)
    return x.double(), y


def rows_of_all(size: int, step: int) -> tuple[Tensor, Tensor]:
    x, y = zip(*(rows_on(rank, step) for rank in range(size)), strict=True)
    return torch.cat(x), torch.cat(y)


def loss_of(model: nn.Module, batch: MiniBatch) -> Tensor:
    return batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))


def gradient(model: nn.Module) -> Tensor:
    grads = [parameter.grad for parameter in model.parameters()]
    whole = [grad.full_tensor() if isinstance(grad, DTensor) else grad for grad in grads]
    return torch.cat([grad.flatten() for grad in whole if grad is not None])


def wrapped(kind: str, group: Any) -> nn.Module:
    model = make_model()
    if kind != "fully_shard":
        static = kind == "static_graph"
        return DistributedDataParallel(model, process_group=group, static_graph=static)
    mesh = DeviceMesh.from_group(group, "cpu")
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    return model


def train(group: Any, kind: str, accumulated: int, together: bool) -> list[float]:
    """How far each step's gradient is from what it must be.

    That is the one of one process with all rows, or the mean of those of each rank by itself.
    """
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    model, alone = wrapped(kind, group), make_model()
    selector = Selector(model, N, seed=3, **({"group": group} if together else {"rank": rank}))
    of_alone = Selector(alone, N, seed=3, rank=0 if together else rank)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model, alone)]
    distances, step = [], 0
    for _ in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad()
        for micro in range(accumulated):
            is_last = micro == accumulated - 1
            with nullcontext() if is_last or kind == "fully_shard" else model.no_sync():
                (loss_of(model, selector(*rows_on(rank, step))) / accumulated).backward()
            rows = rows_of_all(size, step) if together else rows_on(rank, step)
            (loss_of(alone, of_alone(*rows)) / accumulated).backward()
            step += 1
        if not together:
            for parameter in alone.parameters():
                dist.all_reduce(parameter.grad, group=group)
                parameter.grad /= size
        distances.append(float((gradient(model) - gradient(alone)).abs().max()))
        for optimizer in optimizers:
            optimizer.step()
    return distances


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("kind", "accumulated"), [("static_graph", 1), ("no_sync", 3), ("fully_shard", 1)]
)
def test_gradients_are_what_they_must_be(
    run: Run, kind: str, accumulated: int, together: bool
) -> None:
    for distances in run(2, train, kind, accumulated, together):
        assert max(distances) < 1e-9


def begin_sharded(group: Any) -> list[bool]:
    """Which steps of a sharded model are by importance, each rank from its own rows."""
    rank = dist.get_rank(group)
    model = wrapped("fully_shard", group)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    start = Together(LossRatio(0.8), group)
    selector = Selector(model, N, start=start, seed=3, rank=rank)
    importance = []
    for step in range(40):
        batch = selector(*rows_on(rank, step))
        importance.append(batch.importance)
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
    return importance


def test_a_sharded_model_is_scored_by_all_ranks_in_the_same_steps(run: Run) -> None:
    first, second = run(2, begin_sharded)
    assert first == second
    assert True in first
    assert False in first


def restart(group: Any, state: dict[str, Any] | None, first: int) -> tuple[dict[str, Any], Any]:
    """Three steps, from a state or from the beginning; all ranks have 24 rows together."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    model = make_model()
    selector = Selector(model, 6, seed=3 if state is None else 9, group=group, exchange=True)
    if state is not None:
        selector.load_state_dict(state)
    picks = []
    for step in range(first, first + 3):
        x, y = large_batch(0, step, 24)
        part = slice(24 // size * rank, 24 // size * (rank + 1))
        picks.append(selector(x[part].double(), y[part]).index.tolist())
    return selector.state_dict(), picks


def test_another_number_of_ranks_goes_on(run: Run) -> None:
    states, before = zip(*run(3, restart, None, 0), strict=True)
    _, after = zip(*run(2, restart, states[2], 3), strict=True)
    alone = Selector(make_model(), 6, seed=3)
    for step in range(6):
        x, y = large_batch(0, step, 24)
        shares = [share[step] for share in before] if step < 3 else [s[step - 3] for s in after]
        drawn = [index for share in shares for index in share]
        assert drawn == alone(x.double(), y).index.tolist()
