"""Selectors on an accelerator pick as the operators do, wait for nothing, tell of faults later."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast import (
    Accumulator,
    AccuracyFilter,
    After,
    LossRatio,
    LossSplit,
    PickCounts,
    SelectiveBackprop,
    Selector,
    VarianceReduction,
    select,
)
from impsamp_fast.integrations.loggers import FunctionLogger
from tests.devices import no_synchronisation, random_state
from tests.methods import RANDOM_METHODS
from tests.toy import C, K, N, seed_of_step

pytestmark = pytest.mark.usefixtures("one_thread")

SOON = 40  # steps within which a fault is told


@pytest.fixture
def here(
    data: tuple[Tensor, Tensor], model: nn.Module, device: torch.device
) -> tuple[nn.Module, Tensor, Tensor]:
    """The model and its large batch on the device."""
    x, y = data
    return model.to(device), x.to(device), y.to(device)


Here = tuple[nn.Module, Tensor, Tensor]


def losses_of(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch.x), batch.y, reduction="none")


@pytest.mark.parametrize("method", RANDOM_METHODS)
@pytest.mark.parametrize("score", ["loss", "grad_norm", "last_layer", "margin"])
def test_picks_what_select_picks(here: Here, score: str, method: str) -> None:
    model, x, y = here
    selector = Selector(model, N, score=score, method=method, smoothing=0.1, seed=7)
    for step in range(3):
        batch = selector(x, y)
        logits = model(x).detach()
        features = model[:2](x).detach() if score == "last_layer" else None
        options = {"features": features, "smoothing": 0.1, "seed": seed_of_step(7, step)}
        expected = select(logits, y, N, score, method, **options)
        assert batch.importance
        assert torch.equal(batch.index, expected.index)
        assert torch.equal(batch.weight, expected.weight)
        assert torch.equal(batch.x, x[batch.index])
        assert torch.equal(batch.y, y[batch.index])
        assert batch.weight.device == batch.index.device == x.device


def test_uniform_steps_draw_the_cpus_rows(here: Here) -> None:
    model, x, y = here
    on_device = Selector(model, N, start=After(100), seed=1)
    on_cpu = Selector(copy.deepcopy(model).cpu(), N, start=After(100), seed=1)
    for _ in range(5):
        batch = on_device(x, y)
        assert not batch.importance
        assert batch.index.device == x.device
        assert torch.equal(batch.weight, torch.ones(N, device=x.device))
        assert torch.equal(batch.index.cpu(), on_cpu(x.cpu(), y.cpu()).index)


@pytest.mark.parametrize("dropout", [False, True])
def test_scoring_leaves_no_trace(here: Here, dropout: bool) -> None:
    _, x, y = here
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Linear(7, C))
    model = model.to(x.device)
    selector = Selector(model, N, dropout=dropout, seed=0)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before, on_cpu = random_state(x.device), torch.get_rng_state()
    for _ in range(3):
        selector(x, y)
    assert torch.equal(random_state(x.device), before)
    assert torch.equal(torch.get_rng_state(), on_cpu)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_structures_probabilities_and_options(here: Here, device: torch.device) -> None:
    model, x, y = here
    probabilities = torch.randn(K, C, device=device).softmax(-1)
    batch = Selector(model, N, seed=3)((x,), probabilities)
    assert torch.equal(batch.index, select(model(x).detach(), probabilities, N, seed=3).index)
    assert torch.equal(batch.x[0], x[batch.index])
    options: dict[str, Any] = {
        "label_smoothing": 0.2,
        "class_weight": torch.tensor([1.0, 5.0, 0.5], device=device),
        "ignore_index": 2,
    }
    batch = Selector(model, N, seed=3, **options)(x, y)
    assert torch.equal(batch.index, select(model(x).detach(), y, N, seed=3, **options).index)
    assert not (batch.y == 2).any()


def test_autocast(here: Here, device: torch.device) -> None:
    model, x, y = here
    selector = Selector(model, N, seed=0)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        batch = selector(x, y)
        batch.mean(losses_of(model, batch)).backward()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        expected = select(model(x).detach(), y, N, seed=0)
    assert torch.equal(batch.index, expected.index)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_counts_and_numbers_of_the_data_set(here: Here, device: torch.device) -> None:
    model, x, y = here
    counts, expected = PickCounts(1000), torch.zeros(1000, dtype=torch.int64)
    selector = Selector(model, N, counts=counts)
    for _ in range(100):
        numbers = torch.randperm(1000)[:K].to(device)
        index = selector(x, y, numbers).index
        expected += torch.bincount(index.cpu(), minlength=1000)
    assert torch.equal(counts.counts, expected)


@pytest.mark.parametrize(
    ("rule", "argument"), [(After, 20), (LossRatio, 0.99), (VarianceReduction, 0.2)]
)
def test_start_rules_start(here: Here, rule: Any, argument: float) -> None:
    """On an accelerator up to two groups of 16 steps late."""
    model, x, y = here
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    selector = Selector(model, N, start=rule(argument), seed=0)
    importance = []
    for _ in range(80):
        batch = selector(x, y)
        importance.append(batch.importance)
        optimizer.zero_grad()
        batch.mean(losses_of(model, batch)).backward()
        optimizer.step()
    assert not importance[0]
    assert importance[-1]


def test_a_saved_selector_goes_on(here: Here) -> None:
    model, x, y = here

    def make() -> Selector:
        return Selector(model, N, start=VarianceReduction(0.2), counts=PickCounts(K), seed=4)

    whole, first, second = make(), make(), make()
    expected = [whole(x, y).index for _ in range(50)]
    found = [first(x, y).index for _ in range(21)]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    found += [second(x, y).index for _ in range(29)]
    assert all(map(torch.equal, found, expected))


FAULTS = {
    "target": lambda x, y: (x, y.index_fill(0, y[:1] * 0 + 5, C)),
    "logits": lambda x, y: (x * float("nan"), y),
}


STRATEGIES: dict[str, Callable[..., Any]] = {
    "plain": Selector,
    "filter": lambda model, n, **options: Selector(model, n, filter=AccuracyFilter(1.0), **options),
    "last layer": lambda model, n, **options: Selector(model, n, score="last_layer", **options),
    "own rule": lambda model, n, **options: Selector(model, n, method=LossSplit(), **options),
    "scored uniform steps": lambda model, n, **options: Selector(
        model, K, start=VarianceReduction(1e9), **options
    ),
    "accumulator": lambda model, n, **options: Accumulator(
        model, n, AccuracyFilter(1.0), **options
    ),
    "selective backprop": SelectiveBackprop,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_fault_is_told_soon(here: Here, strategy: str, fault: str) -> None:
    """At once on the CPU; elsewhere without waiting, and while training goes on."""
    model, x, y = here
    selector = STRATEGIES[strategy](model, N, seed=0)
    for _ in range(3):
        selector(x, y)
    with pytest.raises((ValueError, IndexError)):
        selector(*FAULTS[fault](x, y))
        for _ in range(SOON):
            selector(x, y)


@pytest.mark.parametrize(
    "strategy",
    [name for name in STRATEGIES if name != "scored uniform steps"],  # which draws all rows
)
def test_a_row_that_is_skipped_counts_as_ignored(here: Here, strategy: str) -> None:
    model, x, y = here
    selector = STRATEGIES[strategy](model, N, seed=0, on_fault="skip")
    expected = STRATEGIES[strategy](model, N, seed=0)
    faulty, ignored = x.clone(), y.clone()
    faulty[5], ignored[5] = torch.nan, -100
    for _ in range(3):
        found, wanted = selector(faulty, y), expected(x, ignored)
        assert (found is None) == (wanted is None)
        if found is not None:
            assert torch.equal(found.index, wanted.index)
            torch.testing.assert_close(found.weight, wanted.weight)
    assert selector.faulty_rows == 3


WITHOUT_WAITING: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "dropout while scoring": lambda: {"dropout": True},
    "uniform": lambda: {"start": After(10**9)},
    "loss ratio": lambda: {"start": LossRatio(0.9)},
    "variance": lambda: {"start": VarianceReduction(1.1)},
    "class weights on the CPU": lambda: {"class_weight": torch.rand(C)},
    "last layer": lambda: {"score": "last_layer"},
    "own score": lambda: {"score": lambda logits, y: logits.square().sum(-1)},
    "own rule": lambda: {"method": LossSplit()},
    "counts": lambda: {"counts": PickCounts(5000)},
    "faults are skipped": lambda: {"on_fault": "skip"},
    "logged": lambda: {"observe": FunctionLogger(lambda numbers, step: None, every=1)},
}


@pytest.mark.cuda
@pytest.mark.parametrize("case", WITHOUT_WAITING)
def test_training_steps_do_not_synchronise(cuda: torch.device, case: str) -> None:
    model = nn.Sequential(nn.Linear(5, 30), nn.Dropout(0.2), nn.ReLU(), nn.Linear(30, C)).to(cuda)
    x, y = torch.randn(1024, 5, device=cuda), torch.randint(C, (1024,), device=cuda)
    index = torch.randperm(5000, device=cuda)[:1024]
    optimizer = torch.optim.Adam(model.parameters())
    selector = Selector(model, 128, **WITHOUT_WAITING[case]())

    def step() -> None:
        batch = selector(x, y, index)
        optimizer.zero_grad()
        batch.mean(losses_of(model, batch)).backward()
        optimizer.step()

    step()
    with no_synchronisation(cuda):
        for _ in range(3 * SOON):
            step()


@pytest.mark.parametrize("wrong", [0, 3, N])
@pytest.mark.parametrize("method", ["race", "pps", "topk"])
@pytest.mark.parametrize("own", [False, True])
def test_fills_up_as_the_cpu_does_and_waits_for_nothing(
    device: torch.device, method: str, own: bool, wrong: int
) -> None:
    logits = torch.zeros(K, 2)
    logits[:, 0] = 200.0
    logits[:wrong, 0] = -1.0
    y = torch.zeros(K, dtype=torch.int64)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, reduction="none")

    score = loss if own else "loss"
    selectors = [Selector(nn.Identity(), N, score=score, method=method, seed=5) for _ in range(2)]
    expected = selectors[0](logits, y)
    there = logits.to(device), y.to(device)
    with no_synchronisation(device):
        found = selectors[1](*there)
    assert torch.equal(found.index.cpu(), expected.index)
    torch.testing.assert_close(found.weight.cpu(), expected.weight)
