"""What every strategy does alike, whatever it is: one test for each promise.

A strategy is run in a small training: its model is trained on what it returns, so that a pick that
differs is seen in all that follow.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast import strategies
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import Always
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset.pick_counts import PickCounts
from tests.toy import NUMBERED, REQUIRED, SAMPLES, C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")

BATCH = strategies.names("batch")
UNSCORED = ("uniform", "random-subset")
OWN_RULE = ("constant-time", "constant-variance")
# With the start rule of the paper, and where there is one to replace also from the first step.
VARIANTS = [(name, None) for name in BATCH] + [
    (name, "always") for name in BATCH if name not in UNSCORED + OWN_RULE
]
every_batch_strategy = pytest.mark.parametrize(
    ("name", "start"),
    VARIANTS,
    ids=[f"{name}-{start}" if start else name for name, start in VARIANTS],
)
every_name = pytest.mark.parametrize("name", BATCH)
STEPS, STOP = 20, 9
SIZE = SAMPLES  # of the data set


class Model(nn.Module):
    """Takes x as it is, as two halves, or as two halves by name."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 7)
        self.last = nn.Linear(7, C)

    def forward(self, left: Tensor, right: Tensor | None = None) -> Tensor:
        x = left if right is None else torch.cat([left, right], dim=1)
        return self.last(self.hidden(x).relu())


def as_tensor(x: Tensor) -> Tensor:
    return x


def as_tuple(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[:, :2], x[:, 2:]


def as_dict(x: Tensor) -> dict[str, Tensor]:
    return {"right": x[:, 2:], "left": x[:, :2]}


def samples() -> tuple[Tensor, Tensor]:
    """The data set: x [SIZE, 6] and y [SIZE]."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, 6, generator=generator)
    noise = torch.randn(SIZE, C, generator=generator)
    return x, (x[:, :C] + 0.3 * noise).argmax(-1)


class Training:
    """A training run with a strategy of the batch."""

    def __init__(
        self, name: str, start: str | None = None, seed: int | None = 5, **parameters: Any
    ) -> None:
        generator = torch.Generator().manual_seed(1)
        self.model = Model()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        if start == "always":
            parameters["start"] = Always()
        self.strategy: BatchStrategy = strategies.make(
            name,
            self.model,
            N,
            seed=seed,
            counts=PickCounts(SIZE),
            **REQUIRED.get(name, {}),
            **parameters,
        )

    def train(
        self, first: int, last: int, pack: Callable[[Tensor], Any] = as_tensor
    ) -> list[MiniBatch]:
        """Trains on the raw batches of these steps; the mini-batches."""
        x, y = samples()
        batches = []
        for step in range(first, last):
            index = torch.randperm(SIZE, generator=torch.Generator().manual_seed(step))[:K]
            for batch in self.strategy.batches([(pack(x[index]), y[index], index)]):
                logits = self.call(batch.x)
                self.optimizer.zero_grad()
                batch.mean(F.cross_entropy(logits, batch.y, reduction="none")).backward()
                self.optimizer.step()
                batches.append(batch)
        return batches

    def call(self, x: Any) -> Tensor:
        if isinstance(x, Tensor):
            return self.model(x)
        return self.model(**x) if isinstance(x, dict) else self.model(*x)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "strategy": self.strategy.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.strategy.load_state_dict(state["strategy"])


def indices(batches: list[MiniBatch]) -> list[list[int]]:
    return [batch.index.tolist() for batch in batches]


@every_batch_strategy
def test_mini_batches_are_rows_of_the_data_set_with_weights(name, start):
    x, y = samples()
    training = Training(name, start)
    batches = training.train(0, STEPS)
    assert batches
    for batch in batches:
        m = batch.index.numel()
        assert m == N or (name in ("top-q", *OWN_RULE) and batch.importance)
        assert batch.index.shape == batch.weight.shape == (m,)
        assert batch.index.dtype == torch.int64
        assert batch.weight.dtype == torch.float32
        assert batch.weight.isfinite().all()
        assert (batch.weight > 0).all()
        assert torch.equal(batch.x, x[batch.index])
        assert torch.equal(batch.y, y[batch.index])
        if not batch.importance:
            assert torch.equal(batch.weight, torch.ones(m))
    picked = torch.cat([batch.index for batch in batches])
    assert torch.equal(training.strategy.counts.counts, torch.bincount(picked, minlength=SIZE))
    if start == "always":
        assert all(batch.importance for batch in batches)


@every_batch_strategy
def test_a_strategy_says_how_many_rows_it_wants(name, start):
    training = Training(name, start)
    for step in range(5):
        raw_size = training.strategy.raw_size
        if isinstance(training.strategy, Selector):
            assert raw_size is None
        else:
            assert 1 <= raw_size <= 8 * N
        training.train(step, step + 1)


@every_batch_strategy
def test_the_seed_decides(name, start):
    before = torch.get_rng_state()
    first, again = Training(name, start).train(0, STEPS), Training(name, start).train(0, STEPS)
    assert indices(first) == indices(again)
    # Making a model asks torch for random numbers; nothing else does.
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    Model(), Model()
    assert torch.equal(torch.get_rng_state(), after)
    deterministic = name in ("uniform", "hard-accuracy", "soft-accuracy") or (
        start == "always" and name in ("highest-loss", "gradient-norm")
    )
    deterministic |= name in ("el2n", "top-k", "top-q", "pods", "rho-loss")
    other = Training(name, start, seed=6).train(0, STEPS)
    assert (indices(other) == indices(first)) == deterministic


@every_batch_strategy
def test_without_a_seed_manual_seed_decides(name, start):
    def train(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return indices(Training(name, start, seed=None).train(0, 3))

    assert train(3) == train(3)


@every_batch_strategy
@pytest.mark.parametrize("pack", [as_tuple, as_dict], ids=["tuple", "dict"])
def test_batches_have_any_structure(name, start, pack):
    expected = Training(name, start).train(0, STEPS)
    batches = Training(name, start).train(0, STEPS, pack)
    assert indices(batches) == indices(expected)
    x, _ = samples()
    for batch in batches:
        packed = pack(x[batch.index])
        assert type(batch.x) is type(packed)
        if isinstance(packed, dict):
            assert list(batch.x) == list(packed)
            assert all(torch.equal(batch.x[key], packed[key]) for key in packed)
        else:
            assert all(
                torch.equal(part, other) for part, other in zip(batch.x, packed, strict=True)
            )


@every_batch_strategy
def test_batches_may_come_without_numbers(name, start):
    model = Training(name, start).model
    strategy = strategies.make(name, model, N, seed=5, **REQUIRED.get(name, {}))
    x, y = samples()
    if name in NUMBERED:
        if start == "always":
            strategy = Training(name, start).strategy
            with pytest.raises(ValueError, match="index is missing"):
                strategy(x[:K], y[:K])
        return
    found = list(strategy.batches([(x[:K], y[:K])] * 4))
    for batch in found:
        assert torch.equal(batch.x, x[:K][batch.index % K])


def picked(
    name: str, model: nn.Module, loader: list[tuple[Tensor, Tensor, Tensor]]
) -> list[list[int]]:
    """What a new strategy picks, which is told losses."""
    strategy = strategies.make(name, model, N, seed=5, **REQUIRED.get(name, {}))
    batches = []
    for batch in strategy.batches(loader):
        batch.mean(batch.x[:, 0].square())
        batches.append(batch)
    strategy.load_state_dict(strategy.state_dict())
    return indices(batches)


def raw_batches() -> list[tuple[Tensor, Tensor, Tensor]]:
    return list(zip(*(part.split(K) for part in (*samples(), torch.arange(SIZE))), strict=True))[:4]


@every_name
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_targets_may_be_small_integers(name, dtype):
    model, loader = Training(name).model, raw_batches()
    small = [(x, y.to(dtype), index) for x, y, index in loader]
    assert picked(name, model, small) == picked(name, model, loader)


@every_name
def test_works_whatever_the_default_dtype_and_device(name):
    model, loader = Training(name).model, raw_batches()
    expected = picked(name, model, loader)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        found = picked(name, model, loader)
        new = strategies.make(name, model, N, seed=5, **REQUIRED.get(name, {}))
        new.load_state_dict(new.state_dict())
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert found == expected


class Wrong(NamedTuple):
    x: Any
    y: Any
    index: Any
    error: type[Exception]
    message: str


ROWS, NUMBERS = torch.zeros(K, dtype=torch.int64), torch.arange(K)
WRONG = [
    Wrong(torch.zeros(K - 1, 6), ROWS, NUMBERS, ValueError, r"x has shape \[63, 6\], but y has 64"),
    Wrong("text", ROWS, NUMBERS, TypeError, "x is str, expected a tensor"),
    Wrong(torch.zeros(K, 6), ROWS.tolist(), NUMBERS, TypeError, "y is list, expected a tensor"),
    Wrong(torch.zeros(K, 6), ROWS, NUMBERS[1:], ValueError, r"index has shape \[63\], expected"),
    Wrong(torch.zeros(K, 6), ROWS, NUMBERS.tolist(), TypeError, "index is list, expected a tensor"),
    Wrong(torch.zeros(K, 6), ROWS, None, ValueError, "index is missing"),
    Wrong(torch.zeros(K, 6), ROWS, NUMBERS + SIZE, IndexError, "but there are 1000 samples"),
]


@every_batch_strategy
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.message)
def test_a_wrong_call_is_named_and_changes_nothing(name, start, wrong):
    training = Training(name, start)
    training.train(0, 3)
    state = training.state_dict()
    with pytest.raises(wrong.error, match=wrong.message):
        training.strategy(wrong.x, wrong.y, wrong.index)
    expected = Training(name, start)
    expected.load_state_dict(state)
    assert indices(training.train(3, 6)) == indices(expected.train(3, 6))


@every_batch_strategy
@pytest.mark.parametrize(
    ("n", "seed", "error", "message"),
    [
        (0, 0, ValueError, "n is 0, expected at least 1"),
        (2.5, 0, TypeError, "n is 2.5, expected an integer"),
        (N, "a", TypeError, "seed is 'a', expected an integer or None"),
    ],
)
def test_a_wrong_argument_is_named(model, name, start, n, seed, error, message):
    with pytest.raises(error, match=message):
        strategies.make(name, model, n, seed=seed, **REQUIRED.get(name, {}))


@every_batch_strategy
def test_another_strategys_state_is_refused(name, start):
    training = Training(name, start)
    before = str(training.strategy.state_dict())
    with pytest.raises(KeyError, match="has the keys"):
        training.strategy.load_state_dict({"sampler": 1})
    assert str(training.strategy.state_dict()) == before


def continue_in_a_new_process(states: str, picks: str) -> None:
    """Continues each saved training; the entry point of that process."""
    saved = torch.load(states, weights_only=True)
    found = {}
    for variant in VARIANTS:
        training = Training(*variant, seed=77)  # which the state replaces
        training.load_state_dict(saved[variant])
        found[variant] = indices(training.train(STOP, STEPS))
    torch.save(found, picks)


@pytest.fixture(scope="module")
def continued(tmp_path_factory) -> dict[tuple[str, str | None], list[list[int]]]:
    """What each strategy picks after STOP steps, from a state saved by another process."""
    folder = tmp_path_factory.mktemp("states")
    states, picks = folder / "states", folder / "picks"
    saved = {}
    for variant in VARIANTS:
        training = Training(*variant)
        training.train(0, STOP)
        saved[variant] = training.state_dict()
    torch.save(saved, states)
    code = (
        "from tests.batch.test_conformance import continue_in_a_new_process; "
        f"continue_in_a_new_process({str(states)!r}, {str(picks)!r})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return torch.load(picks, weights_only=True)


@every_batch_strategy
def test_a_saved_run_picks_the_same_in_a_new_process(name, start, continued):
    whole = Training(name, start)
    whole.train(0, STOP)
    assert indices(whole.train(STOP, STEPS)) == continued[name, start] != []
