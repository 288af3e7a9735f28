"""Loggers write what a strategy's steps come to, to TensorBoard, wandb or a function."""

from dataclasses import replace

import pytest
from torch import Tensor

from impsamp_fast import After, Observation, Selector, strategies
from impsamp_fast._readback import Readback
from impsamp_fast.integrations.loggers import FunctionLogger, Logger
from tests.toy import K, N

pytestmark = pytest.mark.usefixtures("one_thread")

Written = list[tuple[dict[str, float], int]]


@pytest.fixture
def written() -> Written:
    return []


def function_logger(written: Written, every: int) -> FunctionLogger:
    return FunctionLogger(lambda numbers, step: written.append((numbers, step)), every)


def test_every_so_many_steps_are_written(model, data, written):
    logger = function_logger(written, 3)
    selector = Selector(model, N, observe=logger, start=After(2), seed=1)
    for _ in range(7):
        batch = selector(*data)
    assert [step for _, step in written] == [0, 3, 6]
    assert [numbers["impsamp/importance_share"] for numbers, _ in written] == [0, 2 / 3, 1]
    assert "impsamp/score/q50" not in written[0][0]
    numbers = written[-1][0]
    selector_says = selector.metrics()
    for name in ("tau", "effective_size", "score/q50", "loss/mean", "class/0"):
        assert numbers[f"impsamp/{name}"] == selector_says[name]
    assert numbers["impsamp/weight/max"] == float(batch.weight.max())
    assert numbers["impsamp/seconds/scoring"] > 0


def test_nobody_waits_for_a_device(model, data, written, monkeypatch):
    arrived: list[Readback] = []
    get = Readback.get

    def read(self: Readback) -> Tensor:
        assert self in arrived
        return get(self)

    monkeypatch.setattr(Readback, "has_arrived", property(lambda self: self in arrived))
    monkeypatch.setattr(Readback, "get", read)
    logger = function_logger(written, 1)
    selector = Selector(model, N, observe=logger)
    for _ in range(9):
        selector(*data)
    assert not written
    coming = [part for item in logger._coming for part in item.reading._coming.values()]
    assert len(logger._coming) == 4  # no more are begun
    arrived += coming[: len(coming) // 2]
    selector(*data)
    assert [step for _, step in written] == [0, 1]
    monkeypatch.setattr(Readback, "get", get)
    logger.flush()
    assert [step for _, step in written] == [0, 1, 2, 3]


def test_a_strategy_without_observe_is_logged(model, data, written):
    logger = function_logger(written, 2)
    queue = strategies.make("hard-accuracy", model, N)
    for _ in range(3):
        list(queue.batches([data]))
        logger.log(queue)
    assert [step for _, step in written] == [1, 3]
    assert 0 < written[-1][0]["impsamp/selected_share"] < 1


def test_tensorboard_has_curves_and_histograms(model, data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from impsamp_fast.integrations.tensorboard import TensorBoardLogger

    with SummaryWriter(tmp_path) as writer:
        logger = TensorBoardLogger(writer, every=2, histogram_every=4)
        selector = Selector(model, N, observe=logger)
        for _ in range(6):
            selector(*data)
        logger.flush()
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})
    events.Reload()
    tau = events.Scalars("impsamp/tau")
    assert [event.step for event in tau] == [0, 2, 4]
    assert tau[-1].value == pytest.approx(selector.metrics()["tau"])
    histograms = events.Histograms("impsamp/scores")
    assert [event.step for event in histograms] == [0, 4]
    assert histograms[-1].histogram_value.num == K
    assert histograms[-1].histogram_value.max == pytest.approx(float(selector.scores(*data).max()))


def test_there_is_no_histogram_of_no_scores(model, data, tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    from impsamp_fast.integrations.tensorboard import TensorBoardLogger

    seen: list[Observation] = []
    Selector(model, N, observe=seen.append)(*data)
    with SummaryWriter(tmp_path) as writer:
        logger = TensorBoardLogger(writer, every=1, histogram_every=1)
        logger(replace(seen[0], score=seen[0].score[:0]))
        logger.flush()


def test_wandb_has_them_with_the_runs_own(model, data, tmp_path):
    import wandb

    from impsamp_fast.integrations.wandb import WandbLogger

    settings = wandb.Settings(silent=True, x_disable_stats=True, x_disable_meta=True)
    run = wandb.init(mode="offline", dir=tmp_path, settings=settings)
    try:
        logger = WandbLogger(run, every=2, histogram_every=4)
        selector = Selector(model, N, observe=logger)
        for step in range(6):
            selector(*data)
            run.log({"loss": 1.0}, step=step)
        summary = run.summary
        assert summary["impsamp/tau"] == pytest.approx(selector.metrics()["tau"])
        assert summary["impsamp/step"] == 4
        assert sum(summary["impsamp/scores"]["values"]) == K
        assert run.step == 5
    finally:
        run.finish()


def test_a_histogram_needs_no_numbers(model, data, written):
    class Histograms(Logger):
        def _write(self, numbers: dict[str, float], step: int) -> None:
            written.append((numbers, step))

        def _write_histogram(self, name: str, values: Tensor, step: int) -> None:
            assert (name, values.shape) == ("scores", (K,))
            written.append(({}, step))

    selector = Selector(model, N, observe=Histograms(10, 3, prefix=""), start=After(1))
    for _ in range(5):
        selector(*data)
    assert [(bool(numbers), step) for numbers, step in written] == [(True, 0), (False, 3)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"every": 0}, ValueError, "every is 0, expected at least 1"),
        ({"every": 1.5}, TypeError, "every is 1.5, expected an integer"),
    ],
)
def test_a_wrong_interval_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        FunctionLogger(print, **arguments)
