"""Numbers of an accelerator, read when nobody has to wait."""

import pytest
import torch

from impsamp_fast._readback import Backlog, Readback
from impsamp_fast._watch import StatusWatch
from tests.dataset.memories import Elsewhere


def test_reads_the_value_that_was_there():
    value = Elsewhere(torch.tensor([1.0, 2.0]))
    readback = Readback(value)
    value.values.zero_()
    assert readback.get().tolist() == [1.0, 2.0]


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
