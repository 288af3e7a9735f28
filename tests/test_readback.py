"""Numbers of an accelerator, read when nobody has to wait."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from impsamp_fast import _readback
from impsamp_fast._readback import FETCH_TOGETHER, Backlog, Readback, Tally, Updates
from impsamp_fast._watch import StatusWatch
from tests.elsewhere import Elsewhere, Event


def test_reads_the_value_that_was_there():
    value = Elsewhere(torch.tensor([1.0, 2.0]))
    readback = Readback(value)
    value.values.zero_()
    assert readback.get().tolist() == [1.0, 2.0]


def test_a_copy_is_there_when_its_event_is():
    value = Elsewhere(torch.arange(6.0).reshape(2, 3).t())
    readback = Readback(value)
    assert readback._value.count_nonzero() == 0  # the accelerator has not made it yet
    assert torch.equal(readback.get(), value.values)
    assert torch.equal(readback.get(), value.values)


def test_memory_of_a_copy_stays_until_it_is_made(monkeypatch):
    monkeypatch.setattr(Event, "query", lambda event: not event._coming)
    _readback._under_way.clear()
    for step in range(3):
        Readback(Elsewhere(torch.tensor(step)))
    events, places = zip(*_readback._under_way, strict=True)
    for event in events[:2]:
        event.synchronize()
    assert [int(place) for place in places] == [0, 1, 0]
    Readback(Elsewhere(torch.tensor(3)))
    assert [id(place) for _, place in _readback._under_way][:1] == [id(places[2])]


def test_a_device_brings_over_what_it_was(device: torch.device) -> None:
    value = torch.arange(12.0, device=device).reshape(3, 4).t()[1:]
    readbacks = [Readback(value.mul_(2)) for _ in range(100)]
    for step, readback in enumerate(readbacks[:20], 1):
        expected = torch.arange(12.0).reshape(3, 4).t()[1:] * 2.0**step
        assert torch.equal(readback.get(), expected)


class TestBacklog:
    def test_a_group_is_due_when_the_next_one_is_complete(self):
        backlog = Backlog(3)
        for step in range(1, 9):
            backlog.add(torch.tensor(step), None)
            due = [[value if value is None else int(value) for value in s] for s in backlog.due()]
            assert due == ([[1, None], [2, None], [3, None]] if step == 6 else [])
        assert [int(value) for value, _ in backlog.everything()] == [4, 5, 6, 7, 8]
        assert len(backlog) == 0

    def test_a_step_that_is_rejected_is_gone_and_the_others_are_not(self):
        backlog = Backlog(2)
        for step in range(4):
            backlog.add(torch.tensor(step))
        with pytest.raises(ZeroDivisionError):
            for (value,) in backlog.due():
                1 / int(value)
        assert [int(value) for (value,) in backlog.everything()] == [1, 2, 3]

    def test_forgets(self):
        backlog = Backlog(2)
        backlog.add(torch.tensor(1))
        backlog.clear()
        assert list(backlog.everything()) == []


def positive(values: list[float]) -> Callable[[Tensor], None]:
    """Takes in numbers that are not negative."""

    def apply(value: Tensor) -> None:
        if value < 0:
            raise ValueError(f"{int(value)} is negative")
        values.append(value.item())

    return apply


class TestUpdates:
    def test_are_made_in_order_from_wherever_they_come(self):
        made: list[float] = []
        updates = Updates(positive(made))
        for step in range(300):
            value = torch.tensor(step)
            updates.add(value if step % 100 == 99 else Elsewhere(value))
        updates.make_all()
        assert made == list(range(300))

    def test_an_error_comes_before_the_update_that_tells_it(self):
        made: list[float] = []
        updates = Updates(positive(made))
        for step in range(2 * FETCH_TOGETHER):
            updates.add(Elsewhere(torch.tensor(-step if step in (3, 5) else step)))
        for wrong in (3, 5):
            with pytest.raises(ValueError, match=f"^in update {wrong}: -{wrong} is negative$"):
                updates.add(torch.tensor(1000))
        updates.add(torch.tensor(1000))
        expected = [step for step in range(2 * FETCH_TOGETHER) if step not in (3, 5)]
        assert made == [*expected, 1000]

    def test_what_is_forgotten_raises_nothing(self):
        made: list[float] = []
        updates = Updates(positive(made))
        updates.add(Elsewhere(torch.tensor(-1)))
        updates.forget()
        updates.make_all()
        assert made == []


class TestTally:
    def test_adds_up_without_waiting(self):
        tally = Tally()
        Elsewhere.waits = Elsewhere.copies = 0
        count = Elsewhere(torch.tensor(2))
        for _ in range(3):
            tally.add(count)
        count.values.zero_()
        assert Elsewhere.waits + Elsewhere.copies == 0
        assert tally.read() == 6
        tally.add(torch.tensor(5))
        assert tally.read() == 11
        tally.set(4)
        assert tally.read() == 4


class TestStatusWatch:
    def test_raises_the_error_of_the_step_that_failed(self):
        watch = StatusWatch()
        for step in range(40):
            status = Elsewhere(torch.tensor(7 if step == 5 else 0))
            watch.add(step, status, lambda status: IndexError(f"target[{status}] is wrong"))
            if step == 31:
                with pytest.raises(IndexError, match=r"in step 5: target\[7\] is wrong"):
                    watch.look()
            else:
                watch.look()

    def test_watches_nothing_on_the_cpu(self):
        watch = StatusWatch()
        for step in range(100):
            watch.add(step, torch.tensor(1), lambda status: ValueError())
            watch.add(step, None, None)
            watch.look()
