"""Large batches that are scored one training step before they are drawn from."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

import impsamp_fast as isf
from impsamp_fast import After, BreakEven, MiniBatch, Selector
from impsamp_fast.batch._overlap import Overlap
from tests.toy import C, K, N, seed_of_step

STEPS = 6
Batch = tuple[Tensor, Tensor]


def batches(device: str = "cpu", rows: int = K) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(rows, 5, generator=generator).to(device),
            torch.randint(0, C, (rows,), generator=generator).to(device),
        )
        for _ in range(STEPS)
    ]


def network(device: str = "cpu", width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(5, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, C)]
    return nn.Sequential(*layers).to(device)


def trainer(model: nn.Module) -> Callable[[MiniBatch], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def train(batch: MiniBatch) -> None:
        optimizer.zero_grad()
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
        optimizer.step()

    return train


Drawn = list[tuple[Tensor, Tensor]]


def overlapped(data: list[Batch], model: nn.Module, n: int, **options: Any) -> Drawn:
    """The rows and weights of a run."""
    selector, train, drawn = Selector(model, n, seed=3, **options), trainer(model), []
    for batch in selector.batches(data, overlap=True):
        drawn.append((batch.index, batch.weight))
        train(batch)
    return drawn


def expected(data: list[Batch], model: nn.Module, n: int, m: int = 1) -> Drawn:
    """The same by hand: logits of a large batch before the last step of the one before."""

    def logits_of(x: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            logits = model(x)
        model.train()
        return logits

    train, drawn, last = trainer(model), [], None
    for x, y in data:
        logits = logits_of(x)
        if last is not None:
            train(last)
        for i in range(m):
            step = len(drawn)
            index, weight, *_ = isf.select(logits, y, n, seed=seed_of_step(3, step))
            drawn.append((index, weight))
            last = MiniBatch(x[index], y[index], weight, index, True)
            if i < m - 1:
                train(last)
    return drawn


def assert_alike(found: Drawn, right: Drawn) -> None:
    assert len(found) == len(right)
    for (index, weight), (right_index, right_weight) in zip(found, right, strict=True):
        assert torch.equal(index, right_index)
        assert torch.equal(weight, right_weight)


@pytest.mark.parametrize("m", [1, 3])
def test_scores_are_those_before_the_last_step(m: int) -> None:
    model = network()
    right = expected(batches(), copy.deepcopy(model), N, m)
    assert_alike(overlapped(batches(), model, N, batches_per_pool=m), right)


def test_uniform_steps_are_drawn_as_without() -> None:
    selector, other = (Selector(network(), N, seed=3, start=After(3)) for _ in range(2))
    found = list(selector.batches(batches(), overlap=True))
    right = list(other.batches(batches()))
    assert [batch.importance for batch in found] == [False] * 3 + [True] * 3
    # Nothing is trained between, so that the scores are the same too.
    assert_alike([(b.index, b.weight) for b in found], [(b.index, b.weight) for b in right])


def test_a_small_batch_is_skipped() -> None:
    data = batches()
    data[2] = data[2][0][: N - 1], data[2][1][: N - 1]
    selector = Selector(network(), N, seed=3, small_batch="skip")
    assert len(list(selector.batches(data, overlap=True))) == STEPS - 1


def test_the_loader_is_one_large_batch_ahead() -> None:
    taken = 0

    def loader() -> Iterator[Batch]:
        nonlocal taken
        for batch in batches():
            taken += 1
            yield batch

    selector = Selector(network(), N, seed=3)
    found = [taken for _ in selector.batches(loader(), overlap=True)]
    assert found == [2, 3, 4, 5, 6, 6]


def test_a_state_goes_on_at_the_large_batch_that_was_taken_early() -> None:
    # The weights do not change here: that batch is scored with those of then.
    model = network()
    selector, other = Selector(model, N, seed=3), Selector(model, N, seed=4)
    whole = []
    for step, batch in enumerate(selector.batches(batches(), overlap=True)):
        whole.append((batch.index, batch.weight))
        if step == 2:
            other.load_state_dict(selector.state_dict())
    rest = [(b.index, b.weight) for b in other.batches(batches()[3:], overlap=True)]
    assert_alike(rest, whole[3:])


def broken_loader() -> Iterator[Batch]:
    yield from batches()[:2]
    raise OSError("the disk is full")


@pytest.mark.parametrize(
    ("loader", "error"),
    [
        (broken_loader, OSError),
        (lambda: [*batches()[:2], tuple(part[:3] for part in batches()[2])], ValueError),
        (lambda: [*batches()[:2], (torch.full((K, 5), torch.nan), batches()[2][1])], ValueError),
    ],
)
def test_what_was_drawn_before_an_error_is_trained_on(
    loader: Callable[[], Any], error: type[Exception]
) -> None:
    selector, trained = Selector(network(), N, seed=3), 0
    with pytest.raises(error):
        for _ in selector.batches(loader(), overlap=True):
            trained += 1
    assert trained == selector.state_dict()["step"] == 2


def test_the_report_is_of_whole_steps() -> None:
    model = network()
    selector, train = Selector(model, N, seed=3), trainer(model)
    for batch in selector.batches(batches(), overlap=True):
        train(batch)
    report = selector.report()
    assert report.steps == STEPS - 1
    assert report.scoring == 0
    assert report.training is not None and report.training > 0


def test_refuses_what_scoring_goes_along_with() -> None:
    selector = Selector(network(), N, start=BreakEven())
    with pytest.raises(ValueError, match="overlap is True, but BreakEven"):
        next(selector.batches(batches(), overlap=True))


@pytest.mark.parametrize("whole", [True, False])
def test_optimisers_wait_only_as_long_as_it_runs(whole: bool) -> None:
    before = len(_global_optimizer_pre_hooks)
    run = Selector(network(), N).batches(batches(), overlap=True)
    next(run)
    assert len(_global_optimizer_pre_hooks) == before + 1
    if whole:
        list(run)
    run.close()
    assert len(_global_optimizer_pre_hooks) == before


class TestStreams:
    """What is launched on which stream, told by a stand-in for torch's."""

    DEVICE = torch.device("cuda", 0)

    @pytest.fixture
    def launched(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        launched: list[str] = []
        current = ["training"]

        class Stream:
            def __init__(self, name: Any) -> None:
                self.name = name if isinstance(name, str) else "scoring"

            def wait_stream(self, other: "Stream") -> None:
                launched.append(f"{self.name} waits for {other.name}")

            def wait_event(self, event: str) -> None:
                launched.append(f"{self.name} waits for {event}")

            def record_event(self) -> str:
                launched.append(f"{self.name} is done")
                return f"the end of {self.name}"

        @contextmanager
        def stream(other: Stream) -> Iterator[None]:
            current.append(other.name)
            yield
            current.pop()

        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream(current[-1]))
        monkeypatch.setattr(torch.cuda, "stream", stream)
        self.launch = lambda what: launched.append(f"{current[-1]}: {what}")
        return launched

    def test_an_optimiser_waits_for_the_scores(self, launched: list[str]) -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Overlap() as overlap:
            overlap.run([model], (), self.DEVICE, lambda: self.launch("scores"))
            self.launch("backward")
            optimizer.step()
            overlap.take([None])
        optimizer.step()
        assert launched == [
            "scoring waits for training",
            "scoring: scores",
            "scoring is done",
            "training: backward",
            "training waits for the end of scoring",
            "training waits for the end of scoring",
        ]

    @pytest.mark.usefixtures("launched")
    def test_statistics_are_read_from_a_copy(self) -> None:
        model = network()
        norm = model[1]
        assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None
        buffer, before = norm.running_mean, norm.running_mean.clone()
        read = Overlap().run([model], (), self.DEVICE, lambda: norm.running_mean)
        assert norm.running_mean is buffer
        buffer.add_(1)
        assert read is not None and torch.equal(read, before)

    @pytest.mark.usefixtures("launched")
    def test_statistics_of_another_model_are_copied_too(self) -> None:
        model, other = network(), network()
        norm = other[1]
        assert isinstance(norm, nn.BatchNorm1d)
        buffer = norm.running_mean
        read = Overlap().run([model, other], (), self.DEVICE, lambda: norm.running_mean)
        assert read is not buffer and norm.running_mean is buffer

    @pytest.mark.usefixtures("launched")
    def test_statistics_are_back_after_an_error(self) -> None:
        model = network()
        buffers = dict(model.named_buffers())
        with pytest.raises(ZeroDivisionError):
            Overlap().run([model], (), self.DEVICE, lambda: 1 / 0)
        assert all(buffer is buffers[name] for name, buffer in model.named_buffers())


@pytest.mark.cuda
def test_on_a_gpu_the_rows_are_those_of_one_stream() -> None:
    data = batches("cuda", rows=8192)
    model = network("cuda", width=2048)
    right = expected(data, copy.deepcopy(model), N)
    assert_alike(overlapped(data, model, N), right)
