"""BreakEven: importance sampling while the variance it saves is worth the time it takes."""

import copy
import random
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from impsamp_fast import BreakEven, GraphStep, Selector, StepTime
from tests.toy import C, K, N

UNIFORM = 1e-3  # seconds of a step


class Loop:
    """A training loop in which a rule decides, with times and tau that are known.

    Scoring K rows takes `cost` - 1 uniform steps, and fewer rows their share of it.
    """

    def __init__(self, rule: BreakEven, cost: float, tau: float, noise: float = 0.0) -> None:
        self.rule, self.cost, self.tau, self.noise = rule, cost, tau, noise
        self.random = random.Random(0)
        self.clock = 0.0

    def steps(self, count: int) -> list[bool]:
        return [self.step() for _ in range(count)]

    def step(self) -> bool:
        importance = self.rule.decide(0, K, N)
        scored = K if importance else N * self.rule.wants_tau(N)
        scoring = UNIFORM * (self.cost - 1) * scored / K
        whole = (UNIFORM + scoring) * self.random.uniform(1, 1 + self.noise)
        self.clock += whole
        if scored:
            self.rule.learn(torch.tensor(self.tau))
        self.rule.learn_time(StepTime(importance, 1, scored, whole, scoring, 0.0, 0.0))
        return importance


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize(("cost", "tau"), [(1.5, 2.0), (3.0, 3.6), (6.0, 9.0)])
def test_it_is_on_soon_where_it_pays(cost: float, tau: float, noise: float) -> None:
    loop = Loop(BreakEven(), cost, tau, noise)
    loop.steps(20)
    on = loop.steps(2000)
    assert sum(on) >= len(on) - len(on) // 256 - 1  # all but those that tell a uniform step's time


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize(("cost", "tau"), [(1.5, 1.3), (3.0, 1.0), (6.0, 4.0), (9.0, 1.6)])
def test_where_it_does_not_pay_it_takes_one_percent(cost: float, tau: float, noise: float) -> None:
    loop = Loop(BreakEven(), cost, tau, noise)
    steps = 5000
    loop.steps(steps)
    plain = Loop(BreakEven(), 1.0, 1.0, noise)
    plain.steps(steps)
    # What the two loops differ by at random is three times less than the last number.
    slack = 6 * UNIFORM if noise == 0 else 30 * UNIFORM
    assert loop.clock - plain.clock <= 0.011 * plain.clock + slack


def test_it_follows_what_changes() -> None:
    loop = Loop(BreakEven(), cost=3.0, tau=1.1)
    assert sum(loop.steps(1000)[-500:]) <= 5  # which find out
    loop.tau = 5.0
    assert loop.steps(2000)[-1]
    loop.cost = 8.0
    assert sum(loop.steps(1000)[-500:]) <= 5
    loop.cost = 2.0
    assert loop.steps(5000)[-1]
    loop.tau = 1.2
    assert sum(loop.steps(1000)[-500:]) <= 5


def test_it_stays_as_it_is_near_the_break_even() -> None:
    for first, tau in ((5.0, 2.95), (1.5, 3.05)):
        loop = Loop(BreakEven(margin=0.1), cost=3.0, tau=first)
        before = loop.steps(500)[-1]
        loop.tau = tau
        steps = loop.steps(4000)
        assert sum(step != before for step in steps) <= len(steps) // 100


def test_one_step_of_another_length_changes_nothing() -> None:
    """The caller evaluates now and then."""
    loop = Loop(BreakEven(), cost=3.0, tau=3.5)
    loop.steps(50)
    for _ in range(20):
        loop.rule.learn_time(StepTime(True, 1, K, 1000 * UNIFORM, UNIFORM, 0.0, 0.0))
        assert all(loop.steps(10))


def test_other_things_that_the_caller_does_lend_no_time() -> None:
    """Steps in which the caller evaluates last long, and pay for no more probes than others."""
    loops = [Loop(BreakEven(), cost=3.0, tau=1.0) for _ in range(2)]
    probed = [0.0, 0.0]
    for i in range(2000):
        for j, loop in enumerate(loops):
            before = loop.clock
            loop.step()
            probed[j] += loop.clock - before - UNIFORM
        if i % 10 == 0:
            loops[1].rule.learn_time(StepTime(False, 1, 0, 100 * UNIFORM, 0.0, 0.0, 0.0))
    assert probed[1] <= 1.2 * probed[0]  # a tenth more steps


def test_a_probe_that_is_held_up_does_not_keep_it_from_looking_again() -> None:
    loop = Loop(BreakEven(), cost=3.0, tau=1.3)
    for _ in range(400):
        first = not any(loop.rule.state_dict()["importance"])
        if loop.step() and first:
            loop.rule.learn_time(StepTime(True, 1, K, 500 * UNIFORM, 490 * UNIFORM, 0.0, 0.0))
    loop.rule.learn_time(StepTime(False, 1, N, 500 * UNIFORM, 490 * UNIFORM, 0.0, 0.0))
    loop.tau = 4.0
    loop.steps(500)
    assert sum(loop.steps(100)) >= 99  # one may be to know what a uniform step takes


def test_mini_batches_of_a_pool_share_its_scoring() -> None:
    rule = BreakEven()
    for _ in range(5):
        rule.learn_time(StepTime(False, 4, 0, 4 * UNIFORM, 0.0, 0.0, 0.0))
        rule.learn_time(StepTime(True, 4, K, 6 * UNIFORM, 2 * UNIFORM, 0.0, 0.0))
    assert rule.cost(K) == pytest.approx(1.5)


def test_a_resumed_rule_decides_alike() -> None:
    loop = Loop(BreakEven(), cost=3.0, tau=3.3, noise=0.2)
    for _ in range(20):
        loop.steps(37)
        resumed = copy.copy(loop)
        resumed.random = copy.deepcopy(loop.random)
        resumed.rule = BreakEven()
        resumed.rule.load_state_dict(copy.deepcopy(loop.rule.state_dict()))
        assert resumed.steps(50) == copy.deepcopy(loop).steps(50)
    with pytest.raises(KeyError, match="BreakEven"):
        BreakEven().load_state_dict({"on": True})


def test_a_selector_tells_it_what_it_needs(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that moves as the model computes: scoring takes half a uniform step."""
    now = 0.0
    monkeypatch.setattr("impsamp_fast.batch._step_clock.time.perf_counter", lambda: now)

    class Slow(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal now
            now += UNIFORM / 2 * x.shape[0] / K
            return super().forward(x)

    def run(score: Callable[[Tensor, Tensor], Tensor]) -> Iterator[bool]:
        nonlocal now
        rule = BreakEven()
        selector = Selector(Slow(5, C), N, score=score, start=rule, seed=0)
        for _ in range(300):
            batch = selector(*data)
            now += UNIFORM
            yield batch.importance
        assert rule.cost(K) == pytest.approx(1.5)

    alike, differing = run(lambda z, y: torch.ones(len(y))), run(lambda z, y: (y == 0).float())
    assert not any(list(alike)[100:])
    assert sum(list(differing)[100:]) >= 199


def test_it_needs_weights(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r'start is BreakEven.*correction "none"'):
        Selector(model, N, start=BreakEven(), correction="none")
    with pytest.raises(ValueError, match=r'start is BreakEven.*method "topk"'):
        Selector(model, N, start=BreakEven(), method="topk")


def test_a_graph_step_is_not_timed(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"start=BreakEven\(\), but the stages of a graph"):
        GraphStep(Selector(model, N, start=BreakEven()), optimizer)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"margin": -0.1}, ValueError),
        ({"margin": "much"}, TypeError),
        ({"probes": 0.0}, ValueError),
        ({"probes": 1.0}, ValueError),
    ],
)
def test_bad_settings(options: dict[str, float], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        BreakEven(**options)
