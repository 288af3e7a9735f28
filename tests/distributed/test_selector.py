"""A selector of all ranks trains as one process does on all their rows."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from impsamp_fast import (
    After,
    LossRatio,
    MiniBatch,
    Observation,
    PickCounts,
    ScoringPass,
    Selector,
    StartRule,
    VarianceReduction,
    score,
)
from tests.distributed.conftest import Run
from tests.distributed.training import N, large_batch, plain_model, rows_on
from tests.methods import METHODS

STEPS = 5
SIZES = {2: (10, 40), 3: (30, 0, 20), 4: (9, 25, 13, 3)}  # rows of each rank


def rows_of(size: int, step: int) -> tuple[Tensor, Tensor]:
    """The rows of all ranks; some have no target."""
    x, y = large_batch(0, step, sum(SIZES[size]))
    return x.double(), y.masked_fill(torch.arange(len(y)) % 7 == 3, -100)


class Trained:
    """What a training has come to: gradients of each step, and the mini-batches."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.batches: list[MiniBatch] = []

    def step(self, model: nn.Module, optimizer: Any, batch: MiniBatch) -> None:
        optimizer.zero_grad()
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
        grads = [parameter.grad.flatten() for parameter in model.parameters()]
        self.gradients.append(torch.cat(grads).clone())
        self.batches.append(batch)
        optimizer.step()


def train(group: Any, options: dict[str, Any]) -> list[str]:
    """What is different from the training of one process."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    begin = sum(SIZES[size][:rank])
    part = slice(begin, begin + SIZES[size][rank])
    alone, together = Trained(), Trained()
    for trained, is_alone in ((alone, True), (together, False)):
        model = plain_model()
        own = copy.deepcopy(options)
        if is_alone:
            own |= {"rank": 0, "exchange": False}
        else:
            model = DistributedDataParallel(model, process_group=group)
            own["group"] = group
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        selector = Selector(model, N, seed=3, **own)
        for step in range(STEPS):
            x, y = rows_of(size, step)
            batch = selector(x, y) if is_alone else selector(x[part], y[part])
            trained.step(model, optimizer, batch)
    wrong = []
    for step in range(STEPS):
        expected, found = alone.batches[step], together.batches[step]
        if expected.importance != found.importance:
            wrong.append(f"step {step} is by importance in one of them")
        if options.get("exchange"):
            mine = torch.arange(N) // (N // size) == rank
            rows = expected.index[mine]
        else:
            mine = (expected.index >= part.start) & (expected.index < part.stop)
            rows = expected.index[mine] - part.start
        there = found.weight > 0
        same = torch.equal(found.index[there], rows) and torch.equal(
            found.x[there], expected.x[mine]
        )
        # The forward pass of other numbers of rows rounds differently.
        if not same or not torch.allclose(found.weight[there], expected.weight[mine], rtol=1e-9):
            wrong.append(f"step {step} has other rows: {found.index} and not {rows}")
        if not torch.allclose(together.gradients[step], alone.gradients[step], rtol=1e-9):
            wrong.append(f"step {step} has another gradient")
    return wrong


@pytest.mark.parametrize("exchange", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_those_of_one_process(
    run: Run, size: int, method: str, exchange: bool
) -> None:
    correction = {"race": "normalized", "stratified": 0.5, "topk": "none"}.get(method, "unbiased")
    smoothing = 0.3 if method in ("multinomial", "pps") else 0.0
    options = {
        "method": method,
        "correction": correction,
        "smoothing": smoothing,
        "exchange": exchange,
        "start": After(1),
    }
    assert run(size, train, options) == [[]] * size


def own_score(logits: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return x[:, 0].square() + logits[:, 0].sigmoid()


def uncompiled(forward: Callable[..., Any]) -> Callable[..., Any]:
    return forward


def few_scores(logits: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return (x[:, 0] - 1.5).relu()


OPTIONS: dict[str, dict[str, Any]] = {
    "a score function": {"score": own_score, "method": "systematic"},
    "the last layer": {"score": "last_layer", "method": "race"},
    "by the variance": {"start": VarianceReduction(1.05)},
    "more than have a score": {"score": few_scores, "method": "pps"},
    "a compiled pass": {"scoring": ScoringPass(compile=uncompiled)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_whatever_they_are_drawn_by(run: Run, options: dict[str, Any]) -> None:
    assert run(3, train, options) == [[]] * 3


def train_with_few_rows(group: Any) -> tuple[list[int], list[float]]:
    """The mini-batches' sizes and losses where one row is drawn of all."""
    model = DistributedDataParallel(plain_model(), process_group=group)
    selector = Selector(model, 1, seed=0, group=group)
    sizes, losses = [], []
    for step in range(6):
        x, y = large_batch(dist.get_rank(group), step, 10)
        batch = selector(x.double(), y)
        loss = batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))
        loss.backward()
        sizes.append(int((batch.weight > 0).sum()))
        losses.append(float(loss))
        assert len(batch.index) == 1
    return sizes, losses


def test_a_rank_without_a_row_takes_part(run: Run) -> None:
    every = run(3, train_with_few_rows)
    for sizes in zip(*(sizes for sizes, _ in every), strict=True):
        assert sum(sizes) == 1
    for sizes, losses in every:
        for size, loss in zip(sizes, losses, strict=True):
            assert (loss > 0) == (size > 0)


def watch(group: Any, options: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Rows that a rank has of those drawn, and how many targets and right scores are told."""
    model, seen = plain_model(), list[Observation]()
    selector = Selector(
        model,
        N // 4,
        start=VarianceReduction(1e9),
        group=group,
        observe=seen.append,
        seed=0,
        **options,
    )
    told = []
    for step in range(8):
        batch = selector(*rows_on(dist.get_rank(group), step))
        here = batch.weight > 0
        with torch.no_grad():
            expected = score(model(batch.x[here]), batch.y[here], "grad_norm")
        found = seen[-1].score
        assert found is not None
        told.append((int(here.sum()), len(seen[-1].y), int(torch.isclose(found, expected).sum())))
    return told


@pytest.mark.parametrize("exchange", [False, True])
def test_uniform_steps_tell_the_scores_of_the_rows_here(run: Run, exchange: bool) -> None:
    steps = [step for told in run(3, watch, {"exchange": exchange}) for step in told]
    assert {len(set(step)) for step in steps} == {1}
    assert (0 in {rows for rows, *_ in steps}) == (not exchange)


def begin_by_loss(group: Any) -> list[bool]:
    model = DistributedDataParallel(plain_model(), process_group=group)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    selector = Selector(model, N, start=LossRatio(0.8), group=group, seed=0)
    importance = []
    for step in range(40):
        x, y = large_batch(dist.get_rank(group), step)
        batch = selector(x.double(), y)
        importance.append(batch.importance)
        optimizer.zero_grad()
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
        optimizer.step()
    return importance


def test_ranks_begin_together(run: Run) -> None:
    first, second = run(2, begin_by_loss)
    assert first == second
    assert True in first
    assert False in first


def count(group: Any) -> tuple[list[int], list[int]]:
    """The picks that a rank has counted, and the samples that it has trained on."""
    counts = PickCounts(100)
    rank = dist.get_rank(group)
    selector = Selector(plain_model(), N, group=group, counts=counts, exchange=True, seed=0)
    x, y = large_batch(rank, 0, 50)
    batch = selector(x.double(), y, torch.arange(50) + 50 * rank)
    return counts.counts.nonzero().flatten().tolist(), batch.index.tolist()


def test_each_rank_counts_what_it_trains_on(run: Run) -> None:
    for counted, trained in run(2, count):
        assert counted == sorted(set(trained))
        assert len(trained) == N // 2


def resume(group: Any) -> bool:
    rank = dist.get_rank(group)
    first, second = (Selector(plain_model(), N, group=group, seed=seed) for seed in (0, 9))
    for step in range(3):
        first(*rows_on(rank, step))
    second.load_state_dict(first.state_dict())
    expected, found = first(*rows_on(rank, 3)), second(*rows_on(rank, 3))
    return torch.equal(expected.index, found.index) and torch.equal(expected.weight, found.weight)


def test_a_state_goes_on_with_the_same_rows(run: Run) -> None:
    assert run(2, resume) == [True, True]


class Hears(StartRule):
    """Remembers the losses, and starts after four."""

    learns_from = "loss"

    def __init__(self) -> None:
        self.losses: list[float] = []

    def decide(self, step: int, K: int, n: int) -> bool:
        return step >= 4

    def learn(self, value: Tensor) -> None:
        self.losses.append(float(value))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def hear(group: Any) -> list[float]:
    """What a rank's rule hears of losses that are all 2."""
    rule = Hears()
    selector = Selector(plain_model(), 4, group=group, start=rule, seed=0)
    for step in range(8):
        batch = selector(*rows_on(dist.get_rank(group), step))
        batch.mean(torch.full_like(batch.weight, 2.0))
    return rule.losses


def test_a_rule_hears_the_mean_of_a_ranks_rows(run: Run) -> None:
    heard = torch.tensor(run(3, hear))
    assert heard.shape == (3, 8)
    none = heard.isnan()
    assert none.any()
    torch.testing.assert_close(heard[~none], torch.full_like(heard[~none], 2.0))
