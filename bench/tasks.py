"""What is trained: data, network, optimiser and batch sizes, as in Knutsson et al. 2023."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from bench import mnist, two_circles


@dataclass(frozen=True)
class Data:
    """A training pool and a test set, whole and in memory."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def classes(self) -> int:
        """C, how many classes there are."""
        return int(self.test_y.max()) + 1

    def first(self, size: int) -> "Data":
        """The same with the first samples of the pool only."""
        return Data(self.x[:size], self.y[:size], self.test_x, self.test_y)


@dataclass(frozen=True)
class Budget:
    """When a run ends: after `steps`, or once its clock shows `seconds`."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, steps: int, seconds: float) -> float:
        """How much of it is spent, 1 at its end."""
        if self.steps is not None:
            return steps / self.steps
        assert self.seconds is not None
        return seconds / self.seconds

    def spent(self, steps: int, seconds: float) -> bool:
        return self.share(steps, seconds) >= 1


@dataclass(frozen=True)
class Task:
    """One experiment of the paper. Both batch sizes and the start rule hold for all strategies."""

    name: str
    title: str
    load: Callable[[Path], Data]
    network: Callable[[], nn.Module]
    learning_rate: float  # of Adam, its other settings torch's defaults
    start: str  # uniform sampling until then, see strategies.parse_start
    budget: Budget  # of each run
    evaluate_every: int  # steps, where the budget is one of steps
    # Samples in the pool where data-set level strategies are compared: they learn from one epoch to
    # the next, so that a run has to have many.
    epoch_pool: int
    threads: int | None = None  # of torch; None: as many as it takes
    snapshots: tuple[int, ...] = ()  # steps at which picked points and decision map are kept
    count_picks: bool = False
    large: int = 1024  # K, rows scored
    mini: int = 128  # n, rows trained on


def two_circles_network() -> nn.Module:
    """2 -> 50 ReLU -> 2: 252 weights.

    In place, the ReLU spares the large batch half of its memory traffic, for all strategies alike.
    """
    return nn.Sequential(nn.Linear(2, 50), nn.ReLU(inplace=True), nn.Linear(50, 2))


def two_circles_data(_: Path) -> Data:
    return Data(*two_circles.sample(2**17, seed=1), *two_circles.sample(2**14, seed=2))


def mnist_network() -> nn.Module:
    """Two 5x5 convolutions (10, 20), each max-pooled by 2, then 320-50-10: 21,840 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(320, 50),
        nn.ReLU(inplace=True),
        nn.Linear(50, 10),
    )


def mnist_data(root: Path) -> Data:
    return Data(*mnist.load(root, "train"), *mnist.load(root, "t10k"))


TASKS = {
    task.name: task
    for task in (
        Task(
            name="two-circles",
            title="Two Circles",
            load=two_circles_data,
            network=two_circles_network,
            learning_rate=0.005,
            # All of the authors' thresholds win in the end, the early ones soonest; their latest
            # is ratio:0.26.
            start="always",
            budget=Budget(steps=3000),
            evaluate_every=20,
            epoch_pool=2**13,
            # Its operations last microseconds: a second thread gains nothing, and whenever another
            # program takes a core, the first one waits for it.
            threads=1,
            snapshots=(100, 300, 1000, 3000),
        ),
        Task(
            name="mnist",
            title="MNIST",
            load=mnist_data,
            network=mnist_network,
            learning_rate=0.01,
            start="ratio:0.42",
            budget=Budget(seconds=7.0),
            evaluate_every=20,
            epoch_pool=10_000,
            count_picks=True,
        ),
    )
}
