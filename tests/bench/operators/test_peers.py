"""Each peer that is installed does its job: as our operators do, or by the same distribution."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.operators import peers
from bench.operators.peers import PEERS, by_compiler, jobs, torchrl
from bench.operators.peers.peer import Job, Peer
from bench.operators.timing import Function
from bench.report.operator_tables import OURS
from tests.goodness import fits

DRAWN = 4000  # times
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))


def doing(job: Job) -> list[str]:
    """All peers that do a job; compiling takes long, and is tried once."""
    names = [name for name in PEERS if job in PEERS[name].jobs]
    return [name for name in names if name != by_compiler.COMPILE or job is jobs.SELECT]


def call(name: str, job: Job, *inputs: Any) -> Function:
    if name == OURS:
        return job.ours(*inputs)
    if reason := PEERS[name].available():
        pytest.skip(reason)
    return PEERS[name].jobs[job](*inputs)


def rows(K: int = 20, C: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 3 * torch.randn(K, C), torch.randint(C, (K,))


@pytest.mark.parametrize("name", doing(jobs.LOSSES))
def test_losses(name: str) -> None:
    inputs = rows()
    found, ours = call(name, jobs.LOSSES, *inputs)(), jobs.LOSSES.ours(*inputs)()
    torch.testing.assert_close(found, ours, **CLOSE)


@pytest.mark.parametrize("name", doing(jobs.ROW_STATS))
def test_losses_and_gradient_norms(name: str) -> None:
    inputs = rows()
    found, ours = call(name, jobs.ROW_STATS, *inputs)(), jobs.ROW_STATS.ours(*inputs)()
    for a, b in zip(found, ours, strict=False):
        torch.testing.assert_close(a, b, **CLOSE)


@pytest.mark.parametrize("name", doing(jobs.LINEAR_LOSSES))
def test_losses_from_features(name: str) -> None:
    features, target = rows()
    inputs = features, torch.randn(7, 4), target
    found = call(name, jobs.LINEAR_LOSSES, *inputs)()
    torch.testing.assert_close(found, jobs.LINEAR_LOSSES.ours(*inputs)(), **CLOSE)


@pytest.mark.parametrize("name", doing(jobs.GRADIENT_NORMS))
def test_gradient_norms_of_a_model_again_and_again(name: str, model: nn.Module) -> None:
    inputs = model, torch.randn(20, 3), torch.randint(4, (20,))
    found = call(name, jobs.GRADIENT_NORMS, *inputs)
    for _ in range(2):
        ours = jobs.GRADIENT_NORMS.ours(*inputs)()
        torch.testing.assert_close(found().detach(), ours, **CLOSE)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", doing(jobs.SELECT))
def test_a_selection_has_unbiased_weights(name: str) -> None:
    logits, target = rows()
    index, weight, norm, loss = call(name, jobs.SELECT, logits, target, 7)()[:4]
    ours = jobs.ROW_STATS.ours(logits, target)()
    torch.testing.assert_close(loss, ours.loss, **CLOSE)
    torch.testing.assert_close(norm, ours.grad_norm, **CLOSE)
    torch.testing.assert_close(weight, norm.sum() / (20 * norm[index]))


@pytest.mark.parametrize(
    ("job", "name"),
    [(job, name) for job in (jobs.DRAW, jobs.DRAW_UPDATED) for name in (OURS, *doing(job))],
    ids=lambda value: getattr(value, "name", value),
)
def test_draws_with_replacement_have_their_probabilities(job: Job, name: str) -> None:
    weights = torch.arange(1.0, 9.0)
    changed, values = torch.tensor([0, 5]), torch.tensor([4.0, 0.5])
    inputs = (weights.clone(), changed, values, 10) if job is jobs.DRAW_UPDATED else (weights, 10)
    found = call(name, job, *inputs)
    counts = torch.zeros(8)
    for _ in range(DRAWN // 10):
        counts += torch.as_tensor(found()).bincount(minlength=8)
    expected = weights.index_copy(0, changed, values) if job is jobs.DRAW_UPDATED else weights
    assert fits(counts, expected)


def pairs_of(weights: Tensor) -> tuple[list[tuple[int, ...]], Tensor]:
    """The ordered pairs of rows, and the probabilities to draw them one after the other."""
    pairs = list(itertools.permutations(range(len(weights)), 2))
    first, second = weights[torch.tensor(pairs)].T
    return pairs, first * second / (weights.sum() - first)


def assert_draws_pairs(draw: Callable[[], Any], weights: Tensor) -> None:
    pairs, probabilities = pairs_of(weights)
    counts = torch.zeros(len(pairs))
    for _ in range(DRAWN):
        counts[pairs.index(tuple(torch.as_tensor(draw()).tolist()))] += 1
    assert fits(counts, probabilities)


@pytest.mark.parametrize("name", [OURS, *doing(jobs.DRAW_WITHOUT_REPLACEMENT)])
def test_draws_without_replacement_are_one_after_the_other(name: str) -> None:
    weights = torch.tensor([1.0, 2.0, 4.0, 0.5])
    assert_draws_pairs(call(name, jobs.DRAW_WITHOUT_REPLACEMENT, weights, 2), weights)


@pytest.mark.parametrize("name", [OURS, *doing(jobs.DRAW_BY_RANK)])
def test_draws_by_rank_of_loss(name: str, model: nn.Module) -> None:
    x, y = torch.randn(5, 3), torch.randint(4, (5,))
    with torch.no_grad():
        ascending = jobs.LOSSES.ours(model(x), y)().argsort()
    rank = {x[row, 0].item(): place for place, row in enumerate(ascending.tolist())}
    found = call(name, jobs.DRAW_BY_RANK, model, x, y, 2)

    def ranks() -> list[int]:
        rows_of_x, _ = found()
        return [rank[value] for value in rows_of_x[:, 0].tolist()]

    assert_draws_pairs(ranks, jobs.rank_weights(5, 2))


@pytest.mark.parametrize("name", doing(jobs.DRAW_LARGEST))
def test_the_largest(name: str) -> None:
    weights = torch.rand(50)
    found = call(name, jobs.DRAW_LARGEST, weights, 7)()
    assert torch.equal(found, jobs.DRAW_LARGEST.ours(weights, 7)())


def test_a_peer_that_cannot_take_part_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Function:
        raise RuntimeError("not on this machine\nand a trace")

    job = Job("anything", lambda: int)
    works = Peer("works", {job: lambda: int})
    monkeypatch.setattr(
        peers,
        "PEERS",
        {
            "works": works,
            "fails": Peer("fails", {job: fails}),
            "fails later": Peer("fails later", {job: lambda: fails}),
            "absent": Peer("absent", {job: fails}, available=lambda: "not installed"),
            "another": Peer("another", {}),
        },
    )
    calls, missing = peers.candidates(job)
    assert list(calls) == [OURS, "works"]
    assert missing == {
        "fails": "not on this machine",
        "fails later": "not on this machine",
        "absent": "not installed",
    }


def test_an_extension_for_another_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torchrl, "cannot_import", lambda name: "no symbol" if "_torchrl" in name else None
    )
    assert torchrl.available() == f"its extension does not load beside torch {torch.__version__}"


def test_a_compiler_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(by_compiler, "compiled", fails)
    calls, missing = peers.candidates(jobs.LOSSES, *rows())
    assert by_compiler.COMPILE not in calls
    assert missing[by_compiler.COMPILE] == "no compiler"
