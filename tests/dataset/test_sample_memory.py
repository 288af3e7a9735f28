"""The memory of samples, against lists of everything that each sample has shown."""

import io
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import impsamp_fast as isf
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.dataset.sample_memory import SampleMemory
from tests.dataset.memories import EVERYTHING, assert_same, assert_same_state, snapshot, steps


class History:
    """What each sample has shown, in full."""

    def __init__(self) -> None:
        self.losses: dict[int, list[float]] = defaultdict(list)
        self.p_true: dict[int, list[float]] = defaultdict(list)
        self.labels: dict[int, list[int]] = defaultdict(list)

    def update(self, index: Tensor, logits: Tensor, target: Tensor) -> None:
        log_p = logits.double().log_softmax(1)
        for row, sample in enumerate(index.tolist()):
            log_p_true = log_p[row, target[row]].item()
            self.losses[sample].append(-log_p_true)
            self.p_true[sample].append(math.exp(log_p_true))
            self.labels[sample].append(int(np.argmax(logits[row].float().numpy())))

    def compare(self, memory: SampleMemory) -> None:
        for sample in range(memory.size):
            losses, p_true = self.losses[sample], self.p_true[sample]
            labels = self.labels[sample][-memory.history :]
            assert memory.seen[sample] == len(losses)
            assert_close(memory.loss[sample], losses[-1] if losses else math.nan)
            assert_close(memory.p_true_mean[sample], np.mean(p_true) if p_true else math.nan)
            variance = np.var(p_true, ddof=1) if len(p_true) > 1 else math.nan
            assert_close(memory.p_true_variance[sample], variance)
            assert_close(memory.label_entropy()[sample], entropy(labels, memory.classes))
            oldest = max(0, len(losses) - memory.history)
            for t, label in enumerate(labels, start=oldest):
                assert memory.labels[sample, t % memory.history] == label


def entropy(labels: list[int], classes: int | None) -> float:
    assert classes is not None
    shares = (
        np.array(list(Counter(labels).values())) / len(labels) if labels else np.array([np.nan])
    )
    return float(-(shares * np.log(shares)).sum() / math.log(classes))


def assert_close(found: Tensor, expected: float) -> None:
    wanted = torch.tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("classes", [2, 7, 300, 40000])
@pytest.mark.parametrize("history", [1, 4, 10])
def test_remembers_what_each_sample_has_shown(classes, history):
    """Eleven samples in steps of 20 rows: most are there twice in a step."""
    memory = SampleMemory(11, track=EVERYTHING, history=history, classes=classes)
    expected = History()
    expected.compare(memory)
    for index, logits, target in steps(6, 10, 20, classes):
        memory.update(index, logits, target)
        expected.update(index, logits, target)
    expected.compare(memory)
    assert memory.seen[10] == 0


def test_a_sample_that_is_there_twice_is_updated_in_order():
    at_once, one_by_one = (SampleMemory(5, track=EVERYTHING, classes=3) for _ in range(2))
    for index, logits, target in steps(5, 5, 50, 3):
        at_once.update(index, logits, target)
        for row in range(50):
            one_by_one.update(*(part[row : row + 1] for part in (index, logits, target)))
    assert_same(at_once, one_by_one)


def test_by_hand():
    memory = SampleMemory(3, track=("loss", "p_true", "labels"), history=4, classes=4)
    even = torch.tensor([0.2, 0.3, 0.4, 0.1]).log()  # predicts class 2
    memory.update(torch.tensor([1]), even[None], torch.tensor([0]))
    memory.update(torch.tensor([1]), even.roll(1)[None], torch.tensor([3]))
    assert memory.seen.tolist() == [0, 2, 0]
    assert_close(memory.loss[1], -math.log(0.4))
    assert_close(memory.p_true_mean[1], 0.3)  # of 0.2 and 0.4
    assert_close(memory.p_true_variance[1], 0.02)  # 2 * 0.1^2 / (2 - 1)
    assert memory.labels[1].tolist() == [2, 3, 0, 0]
    assert_close(memory.label_entropy()[1], math.log(2) / math.log(4))
    for _ in range(2):
        memory.update(torch.tensor([1]), even[None], torch.tensor([0]))
    # Three of class 2, one of class 3.
    expected = 2 - 0.75 * math.log2(3)
    assert_close(memory.label_entropy()[1], expected / 2)


def test_losses_are_remembered_as_they_were_trained():
    memory = SampleMemory(6, track=("loss", "p_true"))
    index, logits, target = torch.tensor([4, 0]), torch.randn(2, 3), torch.tensor([1, 2])
    losses = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.3)
    memory.update(index, logits.requires_grad_(), target, losses=losses.requires_grad_())
    assert torch.equal(memory.loss[index], losses.detach())
    torch.testing.assert_close(memory.p_true_mean[index], isf.row_stats(logits, target).p_true)
    assert not memory.loss.requires_grad
    assert memory.loss.isnan().tolist() == [False, True, True, True, False, True]


def test_looks_only_at_what_is_tracked():
    index, wrong = torch.tensor([0, 2]), torch.tensor([math.nan, 1.0])
    nothing = SampleMemory(3, track=())
    nothing.update(index, wrong, wrong, losses=wrong)
    assert nothing.seen.tolist() == [1, 0, 1]
    only_loss = SampleMemory(3)
    only_loss.update(index, wrong, wrong, losses=torch.tensor([-1.0, 2.0]))
    assert only_loss.loss[index].tolist() == [-1, 2]
    only_labels = SampleMemory(3, track={"labels"}, classes=2)
    only_labels.update(index, torch.tensor([[1.0, 2], [2, 1]]), losses=wrong)
    assert only_labels.labels[:, 0].tolist() == [1, 0, 0]
    only_p_true = SampleMemory(3, track=["p_true"])
    only_p_true.update(index, torch.zeros(2, 4), torch.tensor([0, 3]), losses=wrong)
    assert only_p_true.p_true_mean[index].tolist() == [0.25, 0.25]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_takes_any_floating_dtype(dtype):
    index, logits, target = steps(1, 8, 8, 3)[0]
    memory, expected = (SampleMemory(8, track=EVERYTHING, classes=3) for _ in range(2))
    memory.update(index.int(), logits.to(dtype), target.int())
    stats = isf.row_stats(logits.to(dtype), target)
    expected.update(index, logits.to(dtype).float(), target, losses=stats.loss)
    torch.testing.assert_close(snapshot(memory), snapshot(expected), equal_nan=True)
    memory.update(index, logits, target, losses=torch.full((8,), 0.3, dtype=dtype))
    assert memory.loss[index].tolist() == [float(torch.tensor(0.3, dtype=dtype).float())] * 8


def test_takes_class_probabilities_and_any_strides():
    memory, expected = (SampleMemory(8, track=EVERYTHING, classes=3) for _ in range(2))
    index, logits, target = torch.arange(16)[::2] // 2, torch.randn(3, 8).t(), torch.rand(8, 3)
    target /= target.sum(1, keepdim=True)
    memory.update(index, logits, target, losses=torch.arange(8.0).flip(0)[::1])
    expected.update(index, logits.contiguous(), target, losses=torch.arange(8.0).flip(0))
    assert_same(memory, expected)
    torch.testing.assert_close(memory.p_true_mean, (logits.softmax(1) * target).sum(1))


def test_an_empty_step_changes_nothing():
    memory = SampleMemory(3, track=EVERYTHING, classes=2)
    before = snapshot(memory)
    none = torch.zeros(0, dtype=torch.int64)
    memory.update(none, torch.zeros(0, 2), none)
    assert_same_state(snapshot(memory), before)


def test_statistics_stay_accurate_over_a_long_run():
    """The mean and variance of 20000 close probabilities, kept in float32."""
    p_true = 0.9 + 0.001 * torch.rand(20000, dtype=torch.float64)
    memory = SampleMemory(1, track=["p_true"])
    logits = torch.stack([p_true.log(), torch.log1p(-p_true)], 1)
    memory.update(torch.zeros(20000, dtype=torch.int64), logits, torch.zeros(20000).long())
    assert abs(memory.p_true_mean.item() - p_true.mean().item()) < 1e-6
    assert memory.p_true_variance.item() == pytest.approx(p_true.var().item(), rel=1e-2)


def test_entropy_of_many_samples_with_any_number_of_threads():
    """Rings of every length; one class has no entropy at all, all classes have 1 exactly."""
    size, history, classes = 20000, 5, 5
    memory = SampleMemory(size, track=["labels"], history=history, classes=classes)
    everyone = torch.arange(size)
    for t in range(7):
        shown = everyone[everyone % 8 > t]
        logits = F.one_hot((t * (shown % 3)) % classes, classes).float()
        memory.update(shown, logits)
    expected = []
    for sample in range(24):
        labels = [(t * (sample % 3)) % classes for t in range(7) if sample % 8 > t]
        expected.append(entropy(labels[-history:], classes))
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(memory.label_entropy())
    assert torch.equal(found[0].nan_to_num(-1), found[1].nan_to_num(-1))
    assert torch.equal(found[0].nan_to_num(-1), found[2].nan_to_num(-1))
    wanted = torch.tensor(expected, dtype=torch.float32).repeat(size // 24 + 1)[:size]
    torch.testing.assert_close(found[0], wanted, equal_nan=True)
    assert found[0].isnan().sum() == size // 8
    assert set(found[0][15::24].tolist()) == {0.0}
    assert set(found[0][7::24].tolist()) == {1.0}


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [(256, torch.uint8), (257, torch.int16), (32768, torch.int16), (32769, torch.int32)],
)
def test_labels_take_the_smallest_dtype(classes, dtype):
    memory = SampleMemory(2, track=("labels",), classes=classes)
    assert memory.labels.dtype == dtype
    memory.update(torch.tensor([1]), F.one_hot(torch.tensor([classes - 1]), classes).float())
    assert memory.labels[1, 0] == classes - 1


@pytest.mark.parametrize(
    ("track", "per_sample"),
    [
        ((), 4),
        (("loss",), 4 + 4),
        (("p_true",), 4 + 8),
        (("labels",), 4 + 10),
        (("picks",), 4 + 8),
        (EVERYTHING, 4 + 4 + 8 + 10 + 8),
    ],
)
def test_memory_per_sample(track, per_sample):
    memory = SampleMemory(1000, track=track, classes=10 if "labels" in track else None)
    assert memory.nbytes == 1000 * per_sample


def test_statistics_are_not_copies():
    memory = SampleMemory(3, track=EVERYTHING, classes=2)
    views = memory.seen, memory.loss, memory.p_true_mean, memory.labels
    memory.update(torch.tensor([1]), torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    memory.load_state_dict(memory.state_dict())
    for view, now in zip(
        views, (memory.seen, memory.loss, memory.p_true_mean, memory.labels), strict=True
    ):
        assert view.data_ptr() == now.data_ptr()
    assert views[0].tolist() == [0, 1, 0]


def test_picks_are_counted_by_those_who_pick():
    memory = SampleMemory(4, track=["picks"])
    assert isinstance(memory.picks, PickCounts)
    memory.picks.update(torch.tensor([3, 3]))
    memory.update(torch.tensor([1]))
    assert memory.picks.counts.tolist() == [0, 0, 0, 2]
    assert memory.seen.tolist() == [0, 1, 0, 0]


def test_continues_from_a_saved_state():
    memory, later = (SampleMemory(9, track=EVERYTHING, classes=4) for _ in range(2))
    first, second = steps(8, 9, 12, 4), steps(8, 9, 12, 4)
    for step in first:
        memory.update(*step)
        memory.picks.update(step[0])
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    later.update(*second[0])
    later.load_state_dict(torch.load(file, weights_only=True))
    for step in second:
        memory.update(*step)
        later.update(*step)
    assert_same(later, memory)
    assert torch.equal(later.picks.counts, memory.picks.counts)


def test_a_saved_state_does_not_change_with_the_memory():
    memory = SampleMemory(3)
    state = memory.state_dict()
    memory.update(torch.tensor([0]), losses=torch.tensor([1.0]))
    memory.load_state_dict(state)
    memory.update(torch.tensor([1]), losses=torch.tensor([1.0]))
    assert state["loss"].isnan().all()
    assert state["seen"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("on_fault", ["raise", "skip"])
def test_updates_inside_a_compiled_graph(on_fault):
    memory, expected = (
        SampleMemory(9, track=EVERYTHING, classes=4, on_fault=on_fault) for _ in range(2)
    )

    @torch.compile(fullgraph=True, backend="aot_eager")
    def remember(index: Tensor, logits: Tensor, target: Tensor) -> None:
        memory.update(index, logits, target)

    for step in steps(4, 9, 12, 4):
        remember(*step)
        expected.update(*step)
    assert_same(memory, expected)
