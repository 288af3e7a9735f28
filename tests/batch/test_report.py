"""Reports: what the steps of a run take, and whether importance sampling pays there."""

import copy
import dataclasses
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from impsamp_fast import (
    Accumulator,
    After,
    AutoAssist,
    BreakEven,
    MentorScore,
    Report,
    ScoringPass,
    Selector,
)
from impsamp_fast.batch import _step_clock
from impsamp_fast.batch.autoassist import Assistant
from tests.batch.queues import OfClass
from tests.toy import C, K, N

Batch = tuple[Tensor, Tensor]


class Clock:
    """Moves when it is told to, in milliseconds."""

    now = 0.0

    def pass_by(self, milliseconds: float) -> None:
        self.now += milliseconds / 1e3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("impsamp_fast.batch._step_clock.time.perf_counter", lambda: made.now)
    return made


class Timed(nn.Linear):
    """A model that takes a millisecond for 16 rows."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(5, C)
        self.clock = clock

    def forward(self, x: Tensor) -> Tensor:
        self.clock.pass_by(x.shape[0] / 16)
        return super().forward(x)


def trained(clock: Clock, data: Batch, steps: int = 12, **options: Any) -> Selector:
    """A selector after steps of which each trains for 3 ms."""
    selector = Selector(Timed(clock), N, **{"seed": 0, "start": After(4)} | options)
    for _ in range(steps):
        batch = selector(*data)
        while batch is not None:
            clock.pass_by(3)
            batch = selector.pop()
    return selector


def test_each_stage_has_its_time(clock: Clock, data: Batch) -> None:
    selector = trained(clock, data)
    report = selector.report()
    assert report.steps == 11  # the last one has not ended
    assert report.importance_share == pytest.approx(7 / 11)
    assert report.uniform == pytest.approx(3e-3)
    assert report.scoring == pytest.approx(K / 16 * 1e-3)
    assert (report.selection, report.gather) == (0, 0)
    assert report.training == pytest.approx(3e-3)
    assert report.importance == pytest.approx(7e-3)
    assert report.cost == pytest.approx(7 / 3)
    assert (report.n, report.K, report.batches_per_pool) == (N, K, 1)


@pytest.mark.parametrize("call", ["scores", "tune"])
def test_what_is_asked_between_steps_is_no_part_of_one(clock: Clock, data: Batch, call) -> None:
    score = MentorScore(seed=0)
    selector = trained(clock, data, start=None, score=score)
    before = selector.report()
    for _ in range(12):
        selector(*data)
        clock.pass_by(1000)
        getattr(selector, call)(*data, **({"seconds": 0} if call == "tune" else {}))
        clock.pass_by(1000)
    report = selector.report()
    assert report.steps == before.steps + 1
    assert (report.second_model, report.training) == (0, pytest.approx(3e-3))


def test_tau_and_the_effective_size_are_those_of_the_draw(clock: Clock, data: Batch) -> None:
    selector = trained(clock, data, start=None, steps=1)
    batch = selector(*data)
    report = selector.report()
    assert report.effective_size == pytest.approx(
        (batch.weight.sum() ** 2 / batch.weight.square().sum()).item()
    )
    with torch.no_grad():
        score = (selector.model(data[0]).softmax(-1) - nn.functional.one_hot(data[1], C)).norm(
            dim=1
        )
    assert report.tau == pytest.approx((K * (score / score.sum()).square().sum()).sqrt().item())
    assert report.gain == pytest.approx(report.tau / report.cost)


def test_mini_batches_of_a_pool_share_its_time(clock: Clock, data: Batch) -> None:
    report = trained(clock, data, start=None, batches_per_pool=4).report()
    assert report.scoring == pytest.approx(1e-3)
    assert report.training == pytest.approx(3e-3)
    assert report.steps == 4 * 11
    assert report.K == K // 4


def test_a_call_that_came_to_nothing_is_no_step(clock: Clock, data: Batch) -> None:
    x, y = data
    selector = trained(clock, data, start=None, small_batch="skip")
    before = selector.report()
    for _ in range(5):
        with pytest.raises(ValueError, match="but y has"):
            selector(x[1:], y)
        clock.pass_by(1000)
        assert selector(x[:3], y[:3]) is None
        clock.pass_by(1000)
    assert selector.report().steps == before.steps + 1
    assert selector.report().training == pytest.approx(3e-3)


def collecting(clock: Clock, n: int, raw_batches: int, **options: Any) -> Accumulator:
    """A queue after raw batches of 16 rows, 4 of them of its class; loading one takes 5 ms."""
    queue = Accumulator(Timed(clock), n, OfClass(1), seed=0, **options)
    y = torch.tensor([1, 0, 2, 0] * 4)
    for _ in range(raw_batches):
        batch = queue(torch.zeros(16, 5), y)
        while batch is not None:
            clock.pass_by(3)
            batch = queue.pop()
        clock.pass_by(5)
    return queue


def test_a_step_of_a_queue_is_all_raw_batches_of_a_mini_batch(clock: Clock) -> None:
    report = collecting(clock, 8, 13).report()
    assert report.steps == 6
    assert report.scoring == pytest.approx(2e-3)
    assert (report.selection, report.gather, report.second_model) == (0, 0, 0)
    assert report.training == pytest.approx(13e-3)
    assert report.importance == pytest.approx(15e-3)
    assert (report.n, report.K, report.tau) == (8, 32, None)
    assert "2.000 ms" in str(report)
    assert "it pays if it needs as many times fewer steps" in report.verdict()


def test_a_short_last_large_batch_does_not_change_its_K(clock: Clock, data: Batch) -> None:
    selector = trained(clock, data, start=None)
    x, y = data
    selector(x[: K // 2], y[: K // 2])
    assert selector.report().K == K


def test_mini_batches_of_a_raw_batch_share_its_time(clock: Clock) -> None:
    report = collecting(clock, 2, 5).report()
    assert report.steps == 2 * 4
    assert report.scoring == pytest.approx(0.5e-3)
    assert report.training == pytest.approx(5.5e-3)
    assert report.K == 8


def test_a_queue_tells_uniform_steps_apart(clock: Clock) -> None:
    report = collecting(clock, 8, 13, start=After(4)).report()
    # 64 rows of raw batches that are kept are 8 mini-batches.
    assert report.steps == 8 + 4
    assert report.uniform == pytest.approx(5.5e-3)
    assert report.cost == pytest.approx(15 / 5.5)


def test_a_wrong_call_of_a_queue_is_no_part_of_a_step(clock: Clock) -> None:
    queue = collecting(clock, 4, 8, on_fault="raise")
    before = queue.report()
    for _ in range(5):
        with pytest.raises(ValueError, match="is nan"):
            queue(torch.full((16, 5), torch.nan), torch.zeros(16, dtype=torch.int64))
        clock.pass_by(1000)
    assert queue.report().steps == before.steps + 1
    assert queue.report().importance == pytest.approx(9e-3)


def test_an_assistant_is_a_second_model(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called with each raw batch, and trained while the caller's step goes on."""
    forward = Assistant.forward

    def slow(self: Assistant, *rows: Tensor) -> Tensor:
        clock.pass_by(2)
        return forward(self, *rows)

    monkeypatch.setattr(Assistant, "forward", slow)
    queue = AutoAssist(nn.Linear(5, C), N, base=1, seed=0)
    for _ in range(12):
        batch = queue(torch.randn(N, 5), torch.zeros(N, dtype=torch.int64))
        clock.pass_by(3)
        batch.mean(torch.rand(N))
        clock.pass_by(1)
    report = queue.report()
    assert report.steps == 11
    assert report.second_model == pytest.approx(4e-3)
    assert report.training == pytest.approx(4e-3)
    assert (report.scoring, report.selection, report.gather) == (0, 0, 0)


def test_nothing_is_known_before_the_first_steps(model: nn.Module) -> None:
    report = Selector(model, N).report()
    assert (report.steps, report.tau, report.cost, report.gain) == (0, None, None, None)
    assert "Too little was timed" in str(report)


REPORT = Report(
    steps=100,
    importance_share=0.5,
    uniform=2e-3,
    importance=6e-3,
    scoring=3e-3,
    selection=1e-4,
    gather=1e-4,
    training=2.8e-3,
    tau=4.5,
    effective_size=77.7,
    n=128,
    K=1024,
    batches_per_pool=1,
    weighted=True,
    compiled=False,
    compile_seconds=None,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "It should pay: a step by importance takes 3.00 uniform steps and by its variance is "
            "worth 4.50, 1.50 times",
        ),
        (
            {"tau": 2.0},
            "It does not pay: a step by importance takes 3.00 uniform steps and is worth 2.00. It "
            "would by a faster scoring pass, see tune(x, y) or batches_per_pool=2 or large batches "
            "of 512 rows.",
        ),
        ({"tau": 2.0, "compiled": True}, "It would by batches_per_pool=2 or large"),
        ({"tau": 1.1, "compiled": True}, "It would by batches_per_pool=20."),
        ({"tau": 1.0}, "The scores are so alike that no setting would make it pay."),
        ({"weighted": False}, "Without weights tau does not say what a step is worth; a step"),
        ({"uniform": None, "tau": 2.0}, "takes 2.14 uniform steps"),
        ({"importance": None}, "Too little was timed to say whether importance sampling pays"),
    ],
)
def test_its_verdict(changes: dict[str, Any], words: str) -> None:
    assert words in dataclasses.replace(REPORT, **changes).verdict()


def test_its_words() -> None:
    text = str(dataclasses.replace(REPORT, compile_seconds=12.3))
    assert text.splitlines()[0] == (
        "100 steps timed, 50% of them by importance; n = 128, 1024 rows scored for each"
    )
    for line in ("uniform step               2.000 ms", "tau                         4.50"):
        assert line in text
    assert "compiling took              12.3 s, once" in text
    assert text.endswith(REPORT.verdict())


def test_how_long_compiling_took(data: Batch, clock: Clock) -> None:
    scoring = ScoringPass(compile=lambda run: torch.compile(run, backend="eager"))
    report = trained(clock, data, scoring=scoring, steps=3).report()
    assert report.compiled
    assert report.compile_seconds is not None


def test_a_step_that_compiles_is_not_timed(data: Batch, clock: Clock) -> None:
    class Compiling:
        """Takes ten seconds for its first call."""

        def __init__(self, run: Any) -> None:
            self.run, self.is_first = run, True

        def __call__(self, x: Tensor) -> Any:
            if self.is_first:
                clock.pass_by(10_000)
            self.is_first = False
            return self.run(x)

    selector = trained(clock, data, scoring=ScoringPass(compile=Compiling), start=None, steps=2)
    assert selector.report().steps == 0
    selector(*data)
    assert selector.report().importance == pytest.approx((3 + K / 16) * 1e-3)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_times_its_own_steps(copied: Any, data: Batch, model: nn.Module) -> None:
    selector = Selector(model, N, seed=0)
    selector(*data)
    other = copied(selector)
    assert torch.equal(other(*data).index, selector(*data).index)


class Event:
    """An event of a device that is behind the host."""

    come: float = 0.0  # what the device has done

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: object) -> None:
        Event.recorded += 1.0
        self.time = Event.recorded

    def query(self) -> bool:
        return self.time <= Event.come

    def elapsed_time(self, other: "Event") -> float:
        return other.time - self.time


@pytest.fixture
def played_cuda(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Torch's functions for CUDA, played: each event comes a millisecond after the last."""
    Event.come = Event.recorded = 0.0
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return torch.device("cuda", 0)


def test_events_are_read_when_they_have_come(played_cuda: torch.device) -> None:
    clock = _step_clock.StepClock()
    for _ in range(3):
        clock.begin(played_cuda)
        clock.mark("scoring", 64)
        clock.mark("selection")
        clock.note(importance=True, steps=1)
    assert list(clock.ended()) == []
    Event.come = 4.0
    (time,) = clock.ended()
    assert time.scored == 64
    assert (time.whole, time.scoring, time.selection) == pytest.approx((3e-3, 1e-3, 1e-3))
    assert time.training == pytest.approx(1e-3)
    Event.come = 100.0
    assert len(list(clock.ended())) == 1  # the third one is under way


def test_a_capture_is_not_timed(played_cuda: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _step_clock.StepClock()
    clock.begin(played_cuda)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    recorded = Event.recorded
    clock.mark("scoring", 64)
    clock.note(importance=True, steps=1)
    clock.begin(played_cuda)
    assert Event.recorded == recorded
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    clock.begin(played_cuda)
    Event.come = 100.0
    assert list(clock.ended()) == []


def test_uniform_mini_batches_that_waited_are_steps_of_their_own(clock: Clock, data: Batch) -> None:
    selector = Selector(Timed(clock), N, start=After(100), whole_uniform=True, seed=0)
    for _ in range(3):
        mini = selector(*data)
        for milliseconds in (3, 5, 7, 9):
            assert mini is not None
            clock.pass_by(milliseconds)
            mini = selector.pop()
    report = selector.report()
    assert report.steps == 11  # the last one is under way
    assert report.uniform == pytest.approx(0.005)


@pytest.mark.parametrize("ask", ["metrics", "report"])
def test_the_rule_learns_all_times_whoever_else_asks(
    clock: Clock, data: Batch, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator a step's time may come when the next one is under way."""
    has_come = True
    monkeypatch.setattr(_step_clock, "_has_come", lambda _: has_come)

    def learned(asks: bool) -> list[float]:
        nonlocal has_come
        selector = Selector(Timed(clock), N, seed=0, start=BreakEven())
        for i in range(12):
            has_come = i % 2 == 1
            selector(*data)
            has_come = True
            clock.pass_by(3)
            if asks:
                getattr(selector, ask)()
        times: list[float] = selector.state_dict()["start"]["uniform"]
        return times

    alone = learned(asks=False)
    assert len(alone) == 11  # the last step has not ended
    assert learned(asks=True) == pytest.approx(alone)


def test_what_follows_a_pause_is_no_step(clock: Clock, data: Batch) -> None:
    selector = Selector(Timed(clock), N, start=After(100), seed=0)
    for _ in range(6):
        selector(*data)
        clock.pass_by(3)
        selector(*data)
        clock.pass_by(3)
        selector.pause()
        clock.pass_by(1000)
    report = selector.report()
    assert report.steps == 6
    assert report.uniform == pytest.approx(0.003)
