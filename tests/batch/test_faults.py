"""A faulty row is told by every strategy that looks at it, or skipped where that is asked for.

On the CPU it raises and nothing is lost; elsewhere nobody waits, the error comes later and names
the step, and the step has left nothing behind.
"""

from itertools import product
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from impsamp_fast import strategies
from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.draw_rules import LossSplit
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import Always, VarianceReduction
from impsamp_fast.batch.strategy import BatchStrategy
from tests.elsewhere import Elsewhere, accelerator, elsewhere
from tests.toy import NUMBERED, OWN_NETWORK, C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")

LATE = 40  # steps within which a fault is told


def own_score(logits: Tensor, y: Tensor) -> Tensor:
    return logits.square().sum(-1)


def named(name: str) -> Any:
    return lambda model, **options: strategies.make(name, model, N, start=Always(), **options)


# All that scores, from the first step; "constant-time" and "constant-variance" do later, by a
# selector that is among these. What needs numbers is tested with its scores, and so is what has a
# network of its own, which the accelerator that is played here cannot hold.
NOT_YET = (
    *("uniform", "random-subset", "constant-time", "constant-variance"),
    *NUMBERED,
    *OWN_NETWORK,
)
MAKE: dict[str, Any] = {
    **{name: named(name) for name in strategies.names("batch") if name not in NOT_YET},
    "a filter": lambda model, **options: Selector(model, N, filter=AccuracyFilter(0.3), **options),
    "a filter and an own score": lambda model, **options: Selector(
        model, N, filter=AccuracyFilter(1.0), score=own_score, **options
    ),
    "an own score": lambda model, **options: Selector(model, N, score=own_score, **options),
    "a draw rule": lambda model, **options: Selector(model, N, method=LossSplit(), **options),
    "the last layer": lambda model, **options: Selector(model, N, score="last_layer", **options),
    "a uniform step that is scored": lambda model, **options: Selector(
        model, K, start=VarianceReduction(1e9), **options
    ),
    "an accumulator": lambda model, **options: Accumulator(
        model, N, AccuracyFilter(0.3), patience=2, **options
    ),
    "selective backprop": lambda model, **options: SelectiveBackprop(model, N, **options),
}
every_strategy = pytest.mark.parametrize("name", MAKE)

# Of row 5.
FAULTS = {
    "NaN": lambda x, y: x[5].fill_(torch.nan),
    "infinite": lambda x, y: x[5].fill_(torch.inf),
    "no class": lambda x, y: y[5:6].fill_(C),
}
# But for a score of one's own that does not look at the target.
every_fault = pytest.mark.parametrize(
    ("name", "fault"),
    [pair for pair in product(MAKE, FAULTS) if pair != ("an own score", "no class")],
)


def large_batch(step: int, fault: str | None = None) -> tuple[Tensor, Tensor]:
    """Rows whose logits are x, in part."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(K, 5, generator=generator)
    y = torch.randint(C, (K,), generator=generator)
    if fault is not None:
        FAULTS[fault](x, y)
    return x, y


def linear() -> nn.Module:
    model = nn.Linear(5, C)
    with torch.no_grad():
        model.weight.copy_(torch.eye(C, 5))
        model.bias.zero_()
    return model


def plain(value: Any) -> Any:
    """A state in a form that compares."""
    if isinstance(value, Elsewhere):
        value = value.values
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


@every_fault
def test_the_cpu_raises_and_nothing_is_lost(name: str, fault: str) -> None:
    strategy, expected = (MAKE[name](linear(), seed=3) for _ in range(2))
    strategy(*large_batch(0)), expected(*large_batch(0))
    with pytest.raises((ValueError, IndexError)):
        strategy(*large_batch(1, fault))
    assert plain(strategy.state_dict()) == plain(expected.state_dict())


def test_a_score_that_does_not_look_at_the_target_takes_any() -> None:
    MAKE["an own score"](linear())(*large_batch(1, "no class"))


def remembered(strategy: BatchStrategy) -> dict[str, Any]:
    """What of a state depends on the rows that were seen."""
    state = plain(strategy.state_dict())
    return {key: state.get(key) for key in ("rows", "memory", "counts")}


@every_fault
def test_an_accelerator_tells_later_and_leaves_nothing_behind(name: str, fault: str) -> None:
    with accelerator():
        strategy = MAKE[name](linear(), seed=3)
        strategy(*map(elsewhere, large_batch(0)))
        while strategy.raw_size == 0:
            strategy.pop()
        before = remembered(strategy)
        batch = strategy(*map(elsewhere, large_batch(1, fault)))
        assert remembered(strategy) == before
        if isinstance(strategy, Selector):
            assert not batch.weight.values.any()
        errors: list[str] = []
        for step in range(2, 2 + LATE):
            while strategy.raw_size == 0:
                strategy.pop()
            try:
                strategy(*map(elsewhere, large_batch(step)))
            except (ValueError, IndexError) as error:
                errors.append(str(error))
        assert len(errors) == 1
        assert errors[0].startswith("in step 1: ")


def draws_n_rows(name: str) -> bool:
    """Whether no number of rows that pass has to be known."""
    strategy = MAKE[name](linear(), seed=3)
    return isinstance(strategy, Selector) and strategy.filter is None and name != "top-q"


@pytest.mark.parametrize("name", list(filter(draws_n_rows, MAKE)))
def test_an_accelerator_is_not_waited_for(name: str) -> None:
    Elsewhere.waits = Elsewhere.copies = 0
    for on_fault in ("raise", "skip"):
        strategy = MAKE[name](linear(), seed=3, on_fault=on_fault)
        with accelerator():
            for step in range(10):
                strategy(*map(elsewhere, large_batch(step, "NaN" if step == 4 else None)))
        assert Elsewhere.waits + Elsewhere.copies == 0


def drawn(
    strategy: BatchStrategy, batches: list[tuple[Tensor, Tensor]], move: Any
) -> list[tuple[Any, Any]]:
    """The rows that come of these, with their weights."""
    found = []
    for x, y in batches:
        batch = strategy(move(x), move(y))
        while batch is not None:
            found.append((plain(batch.index), plain(batch.weight)))
            batch = None if isinstance(strategy, Selector) else strategy.pop()
    return found


@pytest.mark.parametrize("move", [torch.clone, elsewhere], ids=["CPU", "accelerator"])
@every_fault
def test_a_row_that_is_skipped_counts_as_ignored(name: str, move: Any, fault: str) -> None:
    """The same rows are drawn, with the same weights, as if it had no target."""
    expected = MAKE[name](linear(), seed=3)
    clean = [large_batch(step) for step in range(6)]
    for _, y in clean[::2]:
        y[5] = -100
    faulty = [large_batch(step, None if step % 2 else fault) for step in range(6)]
    with accelerator():
        strategy = MAKE[name](linear(), seed=3, on_fault="skip")
        found = drawn(strategy, faulty, move)
        if name == "a uniform step that is scored":
            assert [weight for _, weight in found] == [[1.0] * K] * 6
        else:
            assert found == drawn(expected, clean, torch.clone)
        assert strategy.faulty_rows == 3
        state = strategy.state_dict()
        other = MAKE[name](linear(), seed=4, on_fault="skip")
        other.load_state_dict(state)
    assert state["faulty_rows"] == other.faulty_rows == 3
    assert type(state["faulty_rows"]) is int


@every_strategy
def test_without_a_fault_skipping_changes_nothing(name: str) -> None:
    batches = [large_batch(step) for step in range(6)]
    strategy = MAKE[name](linear(), seed=3, on_fault="skip")
    expected = MAKE[name](linear(), seed=3)
    assert drawn(strategy, batches, torch.clone) == drawn(expected, batches, torch.clone)
    assert strategy.faulty_rows == 0


class TestWhereAllRowsAreFaulty:
    """As when half precision overflows: the step is a GradScaler's to skip."""

    @pytest.mark.parametrize("move", [torch.clone, elsewhere], ids=["CPU", "accelerator"])
    @pytest.mark.parametrize("method", ["multinomial", "race", "pps"])
    def test_those_with_a_target_are_drawn_uniformly(self, method: str, move: Any) -> None:
        with_target = 40
        counts = torch.zeros(K)
        selector = Selector(nn.Linear(5, C), N, method=method, on_fault="skip", seed=0)
        y = torch.arange(K) % C
        y[with_target:50], y[50:] = -100, C
        steps = 50
        with accelerator():
            x, y = move(torch.full((K, 5), torch.nan)), move(y)
            for _ in range(steps):
                batch = selector(x, y)
                counts += torch.tensor(plain(batch.index)).bincount(minlength=K)
            assert selector.faulty_rows == steps * (K - 10)
        assert not counts[with_target:].any()
        if method != "race":  # whose probabilities vary with the draw
            assert plain(batch.weight) == pytest.approx([with_target / K] * N)
        # Without replacement the statistic is smaller than chi-square.
        share = steps * N / with_target
        statistic = ((counts[:with_target] - share) ** 2 / share).sum().item()
        assert statistic < chi2.isf(1e-6, with_target - 1)

    def test_without_any_target_it_raises_on_the_cpu(self) -> None:
        selector = Selector(linear(), N, on_fault="skip")
        x, y = large_batch(0)
        with pytest.raises(ValueError, match="in every row, or no class, so none can be drawn"):
            selector(x, y + C)

    def test_queues_take_none(self) -> None:
        x, y = large_batch(0)
        for name in ("an accumulator", "selective backprop"):
            queue = MAKE[name](linear(), on_fault="skip")
            before = queue.state_dict()["memory"]
            for _ in range(3):
                assert queue(x * torch.nan, y) is None
            assert plain(queue.state_dict()["memory"]) == plain(before)
            assert queue.waiting == 0
            assert queue.faulty_rows == 3 * K

    def test_a_start_rule_learns_nothing(self) -> None:
        rule = VarianceReduction(1e9)
        selector = Selector(linear(), N, start=rule, on_fault="skip")
        x, y = large_batch(0)
        selector(x * torch.nan, y)
        assert rule.state_dict()["average"] == 0


@pytest.mark.parametrize("move", [torch.clone, elsewhere], ids=["CPU", "accelerator"])
@pytest.mark.parametrize("method", ["topk", "race", "pps"])
def test_fewer_sound_rows_than_are_drawn_are_all_there(method: str, move: Any) -> None:
    x, y = large_batch(0)
    x[: K - 5] = torch.nan
    with accelerator():
        selector = Selector(linear(), N, method=method, on_fault="skip", seed=0)
        batch = selector(move(x), move(y))
        weight, index = torch.tensor(plain(batch.weight)), torch.tensor(plain(batch.index))
    assert set(index.tolist()) == set(range(K - 5, K))
    assert (weight > 0).sum() == 5
    assert sorted(index[weight > 0].tolist()) == list(range(K - 5, K))


def test_a_wrong_choice_is_named() -> None:
    for kind in (Selector, SelectiveBackprop):
        with pytest.raises(ValueError, match="on_fault is 'ignore', expected one of 'raise', 'ski"):
            kind(linear(), N, on_fault="ignore")
