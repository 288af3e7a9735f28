"""Second models of ranks: one that all of them train, or one of each rank's own."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from impsamp_fast import SecondModel, strategies
from tests.distributed.conftest import Run

K, N, D, C = 24, 6, 5, 3
STEPS, STOP = 8, 5
NAMES = ("mentornet", "autoassist", "rho-loss")


def rows(rank: int, step: int, K: int = K) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 * rank + step)
    return torch.randn(K, D, generator=generator), torch.randint(C, (K,), generator=generator)


def linear(seed: int) -> nn.Linear:
    model = nn.Linear(D, C)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def make(name: str, group: Any, rank: int, seed: int) -> Any:
    """The strategy, whose second model begins otherwise with each seed."""
    if name == "autoassist":
        return strategies.make(name, linear(0), N, seed=seed, base=0.5, rate=0.5, group=group)
    if name == "mentornet":
        return strategies.make(name, linear(0), N, seed=seed, model_group=group)
    small = linear(seed)
    return strategies.make(
        name,
        linear(0),
        N,
        seed=seed,
        irreducible=small,
        optimizer=torch.optim.Adam(small.parameters(), lr=0.05),
        holdout=rows(rank, 99),
        model_group=group,
    )


def train(strategy: Any, rank: int, first: int, last: int) -> list[list[list[float]]]:
    """The mini-batches of the rank's own rows, whose losses are told."""
    picked = []
    for step in range(first, last):
        batch, part = strategy.pop(), 0
        while batch is None:
            x, y = rows(rank, 10 * step + part)
            batch, part = strategy(x, y), part + 1
        picked.append(batch.x.tolist())
        batch.mean(batch.x.square().sum(1))
    return picked


def learned(strategy: Any) -> dict[str, Any]:
    """What is to be the same on all ranks."""
    state = strategy.state_dict()
    kept: dict[str, Any] = state["score"] if "score" in state else state["memory"]
    return {name: value for name, value in kept.items() if name != "seed"}


def together(group: Any, name: str) -> tuple[str, list[Any], list[Any]]:
    """What was learned, and what is picked by a run that goes on and by one that is resumed."""
    rank = dist.get_rank(group)
    strategy = make(name, group, rank, seed=rank)
    train(strategy, rank, 0, STOP)
    every: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(every, strategy.state_dict(), group=group)
    resumed = make(name, group, rank, seed=7 + rank)
    resumed.load_state_dict(every[rank])
    picked = train(strategy, rank, STOP, STEPS)
    again = train(resumed, rank, STOP, STEPS)
    assert str(learned(resumed)) == str(learned(strategy))
    return str(learned(strategy)), picked, again


@pytest.mark.parametrize("name", NAMES)
def test_ranks_with_a_group_have_one_model(run: Run, name: str) -> None:
    ranks = run(2, together, name)
    assert ranks[0][0] == ranks[1][0]
    for _, picked, again in ranks:
        assert picked == again
    assert ranks[0][1] != ranks[1][1]


def alone(group: Any, name: str) -> str:
    rank = dist.get_rank(group)
    strategy = make(name, None, rank, seed=rank)
    train(strategy, rank, 0, 1 + rank)  # the ranks need not make the same steps
    return str(learned(strategy))


@pytest.mark.parametrize("name", NAMES)
def test_without_a_group_no_rank_hears_of_another(run: Run, name: str) -> None:
    first, second = run(2, alone, name)
    assert first != second


def descend(group: Any) -> list[float]:
    """A step of gradient descent, on a loss of another slope on each rank."""
    rank = dist.get_rank(group)
    model = linear(rank)
    second = SecondModel(model, torch.optim.SGD(model.parameters(), lr=0.5), group)
    second.train(lambda model: (model.weight * (1 + 2 * rank)).sum() + model.bias.sum(), ())
    return [*model.weight.flatten().tolist(), *model.bias.tolist()]


def test_the_step_is_by_the_mean_gradient_from_the_weights_of_rank_0(run: Run) -> None:
    first = linear(0)
    expected = [*(first.weight - 0.5 * 2).flatten().tolist(), *(first.bias - 0.5).tolist()]
    for found in run(2, descend):
        assert found == pytest.approx(expected)


def normalise(group: Any) -> list[float]:
    """The statistics of a batch norm that has seen other rows on each rank."""
    rank = dist.get_rank(group)
    model = nn.Sequential(nn.BatchNorm1d(1, momentum=1.0))
    second = SecondModel(model, torch.optim.SGD(model.parameters(), lr=0.5), group)
    x = torch.tensor([[0.0], [2.0 + 4 * rank]])
    second.train(lambda model: model(x).sum(), x)
    return [float(model[0].running_mean), float(model[0].running_var)]


def test_a_batch_norm_has_the_mean_statistics(run: Run) -> None:
    assert run(2, normalise) == [[2.0, 10.0]] * 2
