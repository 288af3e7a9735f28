import io
import math

import pytest
import torch
from torch import Tensor

from impsamp_fast.batch import _readings
from impsamp_fast.batch.start import After, Always, LossRatio, StartRule, VarianceReduction

RULES = [
    (Always, {}),
    (After, {"steps": 3}),
    (LossRatio, {"threshold": 0.5}),
    (VarianceReduction, {}),
    (VarianceReduction, {"threshold": 1.2, "momentum": 0.5}),
]
every_rule = pytest.mark.parametrize(
    ("rule_class", "arguments"), RULES, ids=lambda value: getattr(value, "__name__", None)
)


def run(rule: StartRule, values: list[float]) -> list[bool]:
    """The decisions of the steps, each followed by learning that step's value."""
    decisions = []
    for step, value in enumerate(values):
        decisions.append(rule.decide(step, K=1024, n=128))
        rule.learn(torch.tensor(value))
    return decisions


@pytest.fixture
def reads_in_groups(monkeypatch):
    """Makes the CPU's scalars wait as an accelerator's do, in groups of two."""
    monkeypatch.setattr(_readings, "_is_read_at_once", lambda value: False)
    monkeypatch.setattr(_readings, "_READ_TOGETHER", 2)


class TestEveryRule:
    @every_rule
    def test_stores_its_arguments_unchanged(self, rule_class, arguments):
        rule = rule_class(**arguments)
        for name, value in arguments.items():
            assert getattr(rule, name) is value

    @every_rule
    def test_continues_from_a_saved_state(self, rule_class, arguments):
        values = [2.0, 1.5, 3.0, 1.0, 0.9, 4.0, 4.0, 4.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
        expected = run(rule_class(**arguments), values)
        for stop in range(len(values)):
            before, after = rule_class(**arguments), rule_class(**arguments)
            decisions = run(before, values[:stop])
            file = io.BytesIO()
            torch.save(before.state_dict(), file)
            file.seek(0)
            after.load_state_dict(torch.load(file, weights_only=True))
            for step in range(stop, len(values)):
                decisions.append(after.decide(step, 1024, 128))
                after.learn(torch.tensor(values[step]))
            assert decisions == expected

    @every_rule
    def test_refuses_the_state_of_another_rule(self, rule_class, arguments):
        rule = rule_class(**arguments)
        before = rule.state_dict()
        with pytest.raises(KeyError, match=f"the state of a {rule_class.__name__} has the keys"):
            rule.load_state_dict({"something": 1})
        assert rule.state_dict() == before

    def test_is_the_abstract_base_or_complete(self):
        with pytest.raises(TypeError, match="abstract"):
            StartRule()


def test_always_starts_at_once():
    assert run(Always(), [1.0, 1.0]) == [True, True]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_after_counts_uniform_steps(steps):
    decisions = run(After(steps), [1.0] * 5)
    assert decisions == [False] * steps + [True] * (5 - steps)


def test_after_rejects_negative_steps():
    with pytest.raises(ValueError, match="steps is -1, expected at least 0"):
        After(-1)


class TestLossRatio:
    def test_starts_after_the_loss_fell_below_the_threshold_and_latches(self):
        losses = [2.0, 1.5, 1.0, 0.99, 5.0, 5.0]
        assert run(LossRatio(0.5), losses) == [False, False, False, False, True, True]

    def test_ignores_losses_that_are_not_finite(self):
        losses = [math.inf, math.nan, 2.0, -math.inf, math.nan, 0.9, 1.0]
        assert run(LossRatio(0.5), losses) == [False] * 6 + [True]

    def test_needs_a_positive_first_loss(self):
        with pytest.raises(ValueError, match=r"the first loss is -1\.0, .* use After"):
            LossRatio(0.5).learn(torch.tensor(-1.0))

    def test_passes_over_losses_of_zero_before_the_first(self):
        losses = [0.0, -0.0, 2.0, 1.0, 0.9, 1.0]
        assert run(LossRatio(0.5), losses) == [False] * 5 + [True]

    @pytest.mark.parametrize("threshold", [0.0, -0.5, math.inf, math.nan])
    def test_rejects_a_threshold_that_is_not_positive(self, threshold):
        with pytest.raises(ValueError, match=f"threshold is {threshold}, .* 0 < threshold"):
            LossRatio(threshold)

    def test_says_when_it_hears_no_loss(self):
        rule = LossRatio(0.5)
        assert not any(rule.decide(step, 1024, 128) for step in range(100))
        with pytest.raises(RuntimeError, match=r"no loss in 100 steps.*batch\.mean\(losses\)"):
            rule.decide(100, 1024, 128)

    @pytest.mark.parametrize("at_once", [True, False])
    def test_says_when_it_hears_only_zeros(self, monkeypatch, at_once):
        monkeypatch.setattr(_readings, "_is_read_at_once", lambda value: at_once)
        rule = LossRatio(0.5)
        assert not any(run(rule, [0.0] * 100))
        with pytest.raises(RuntimeError, match=r"no loss in 100 steps other than 0"):
            run(rule, [0.0] * 32)

    def test_forgets_the_zeros_with_the_first_loss(self):
        rule = LossRatio(0.5)
        assert not any(run(rule, [0.0] * 99 + [2.0] * 99))
        assert not any(rule.decide(step, 1024, 128) for step in range(100))

    def test_forgets_the_zeros_with_a_loaded_state(self):
        rule = LossRatio(0.5)
        run(rule, [0.0] * 100)
        rule.load_state_dict({"started": False, "first": 2.0, "unread": []})
        assert run(rule, [1.5, 0.9, 1.0]) == [False, False, True]

    def test_may_go_on_without_losses_once_it_has_started(self):
        rule = LossRatio(0.5)
        run(rule, [2.0, 0.5])
        assert all(rule.decide(step, 1024, 128) for step in range(2, 300))

    def test_reads_an_accelerator_in_groups(self, reads_in_groups):
        # Step 1's small loss is read after step 3, when the next group is complete.
        assert run(LossRatio(0.5), [2.0, 0.1, 2.0, 2.0, 2.0]) == [False] * 4 + [True]

    def test_keeps_its_own_copy_of_a_loss_that_waits(self, reads_in_groups):
        rule = LossRatio(0.5)
        for value in (2.0, 2.0, 2.0, 2.0):
            loss = torch.tensor(value)
            rule.learn(loss)
            loss /= 100
        assert rule.state_dict() == {"started": False, "first": 2.0, "unread": [2.0, 2.0]}

    def test_saves_losses_that_wait_without_reading_them_early(self, reads_in_groups):
        rule = LossRatio(0.5)
        run(rule, [2.0, 0.5])
        state = rule.state_dict()
        assert state == {"started": False, "first": None, "unread": [2.0, 0.5]}
        assert not rule.decide(2, 1024, 128)
        resumed = LossRatio(0.5)
        resumed.load_state_dict(state)
        for either in (rule, resumed):
            either.learn(torch.tensor(2.0))
            assert not either.decide(3, 1024, 128)
            either.learn(torch.tensor(2.0))
            assert either.decide(4, 1024, 128)

    def test_losses_that_waited_on_an_accelerator_are_read_when_resumed_on_the_cpu(self):
        rule = LossRatio(0.5)
        rule.load_state_dict({"started": False, "first": None, "unread": [2.0, 0.5]})
        rule.learn(torch.tensor(2.0))
        assert rule.state_dict() == {"started": True, "first": 2.0, "unread": []}


class TestVarianceReduction:
    def test_compares_a_moving_average_that_starts_from_zero(self):
        taus = [2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
        # The averages after each step: 1, 1.5, 1.75, 1.375, 1.1875, 1.09375.
        rule = VarianceReduction(threshold=1.2, momentum=0.5)
        assert run(rule, [*taus, 3.0, 1.0]) == [False, False, True, True, True, False, False, True]
        assert rule.state_dict()["average"] == (1.09375 / 2 + 1.5) / 2 + 0.5

    @pytest.mark.parametrize(("K", "n"), [(1024, 128), (640, 128), (128, 128)])
    def test_breaks_even_by_default(self, K, n):
        # Importance sampling costs K forward and 3 n, and is worth 3 n tau.
        def decide_at(tau: float) -> bool:
            rule = VarianceReduction(momentum=0.0)
            rule.learn(torch.tensor(tau, dtype=torch.float64))
            return rule.decide(1, K, n)

        break_even = K / (3 * n) + 1
        assert not decide_at(break_even * (1 - 1e-9))
        assert decide_at(break_even * (1 + 1e-9))

    def test_default_momentum_is_the_papers(self):
        rule = VarianceReduction()
        run(rule, [2.0, 1.0])
        assert rule.state_dict()["average"] == pytest.approx(0.9 * 0.1 * 2.0 + 0.1 * 1.0)

    @pytest.mark.parametrize("tau", [math.nan, math.inf])
    def test_leaves_out_a_tau_that_is_not_finite(self, tau):
        rule = VarianceReduction(threshold=1.2, momentum=0.0)
        assert run(rule, [1.5, tau, 1.0]) == [False, True, True]

    def test_reads_an_accelerator_in_groups(self, reads_in_groups):
        rule = VarianceReduction(threshold=1.2, momentum=0.5)
        decisions = run(rule, [2.0, 2.0, 2.0, 2.0, 1.0])
        assert decisions == [False] * 4 + [True]
        assert rule.state_dict() == {"average": 1.5, "unread": [2.0, 2.0, 1.0]}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"threshold": math.nan}, "threshold is nan, expected a finite number"),
            ({"momentum": 1.0}, "momentum is 1.0, expected a number with 0 <= momentum < 1"),
            ({"momentum": -0.1}, "momentum is -0.1, expected a number with 0 <= momentum < 1"),
        ],
    )
    def test_rejects_impossible_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            VarianceReduction(**arguments)


@pytest.mark.parametrize(
    ("rule_class", "arguments", "message"),
    [
        (After, {"steps": 2.5}, "steps is 2.5, expected an integer"),
        (After, {"steps": "a"}, "steps is 'a', expected an integer"),
        (LossRatio, {"threshold": "a"}, "threshold is 'a', expected a number"),
        (LossRatio, {"threshold": None}, "threshold is None, expected a number"),
        (VarianceReduction, {"threshold": "a"}, "threshold is 'a', expected a number"),
        (VarianceReduction, {"momentum": "a"}, "momentum is 'a', expected a number"),
    ],
)
def test_arguments_of_another_type_are_named(rule_class, arguments, message):
    with pytest.raises(TypeError, match=message):
        rule_class(**arguments)


def test_a_rule_of_ones_own_needs_only_the_abstract_members():
    class Alternately(StartRule):
        learns_from = "nothing"

        def decide(self, step: int, K: int, n: int) -> bool:
            return step % 2 == 1

        def learn(self, value: Tensor) -> None:
            raise AssertionError("learns from nothing")

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    assert [Alternately().decide(step, 8, 2) for step in range(3)] == [False, True, False]
