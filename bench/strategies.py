"""Which rows a step trains on: the strategies that the comparison sets beside each other."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.peers import row_loop_grad_norm
from bench.tasks import Task
from impsamp_fast import After, Always, LossRatio, PickCounts, Selector, VarianceReduction
from impsamp_fast.start import StartRule


@dataclass(frozen=True)
class Strategy:
    """Settings of one strategy; `score` None is uniform sampling."""

    name: str
    label: str
    colour: str  # of Okabe and Ito's palette, which colour-blind readers can tell apart
    line: str = "-"
    score: str | None = "grad_norm"
    method: str = "multinomial"
    correction: str = "none"
    start: str | None = None  # None: the task's
    row_loop: bool = False

    def start_rule(self, start: str) -> str | None:
        """When it begins to draw by importance, where `start` is the comparison's rule."""
        return None if self.score is None else self.start or start


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy("uniform", "uniform", "#000000", score=None),
        Strategy("highest-loss", "highest loss", "#E69F00", score="loss", method="topk"),
        Strategy("highest-loss-cdf", "highest loss CDF", "#D55E00", score="loss"),
        # With two classes it ranks as the loss does; dashed, both curves are seen.
        Strategy("gradient-norm", "gradient norm", "#56B4E9", line="--", method="topk"),
        Strategy("gradient-norm-cdf", "gradient norm CDF", "#0072B2"),
        # The library's default: the same draws, but weighted so that the mean loss is estimated
        # without bias.
        Strategy(
            "gradient-norm-cdf-unbiased",
            "gradient norm CDF, unbiased",
            "#0072B2",
            line="--",
            correction="unbiased",
        ),
        # The threshold of its authors' runs. With these batches the break-even ("variance") is 3.7,
        # which Two Circles does not reach in 3,000 steps.
        Strategy("kf18", "KF18", "#009E73", correction="unbiased", start="variance:1.5"),
        # Only here for its cost, so it scores from the first step.
        Strategy(
            "gradient-norm-cdf-loop",
            "gradient norm CDF, row loop",
            "#CC79A7",
            start="always",
            row_loop=True,
        ),
    )
}


def find(names: list[str]) -> list[Strategy]:
    """The strategies of those names, or SystemExit naming the unknown one and the known."""
    for name in names:
        if name not in STRATEGIES:
            raise SystemExit(f'no strategy "{name}"; there are {", ".join(STRATEGIES)}')
    return [STRATEGIES[name] for name in names]


def parse_start(text: str) -> StartRule:
    """A start rule from "always", "after:STEPS", "ratio:R", "variance" or "variance:THRESHOLD"."""
    kind, _, value = text.partition(":")
    try:
        if kind == "always" and not value:
            return Always()
        if kind == "variance":
            return VarianceReduction(float(value) if value else None)
        if kind == "after":
            return After(int(value))
        if kind == "ratio":
            return LossRatio(float(value))
    except ValueError:
        pass
    raise SystemExit(
        f'start is "{text}", expected "always", "after:STEPS", "ratio:R" or "variance:THRESHOLD"'
    )


class Picker(Protocol):
    """A strategy at work. `rows` of the pool go in each step; a loss to differentiate comes out."""

    rows: int
    picked: tuple[Tensor, Tensor]  # x and y of the last mini-batch
    importance_steps: int
    counts: PickCounts | None

    def loss(self, x: Tensor, y: Tensor, index: Tensor | None) -> Tensor: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class UniformPicker:
    """Trains on every row it is given: no large batch is fetched, nothing scored or gathered."""

    importance_steps = 0
    counts = None

    def __init__(self, model: nn.Module, n: int) -> None:
        self.model, self.rows = model, n

    def loss(self, x: Tensor, y: Tensor, index: Tensor | None) -> Tensor:
        self.picked = x, y
        return F.cross_entropy(self.model(x), y)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class SelectorPicker:
    """Importance sampling with `impsamp_fast.Selector`."""

    def __init__(self, model: nn.Module, rows: int, selector: Selector) -> None:
        self.model, self.rows, self.selector = model, rows, selector
        self.counts = selector.counts
        self.importance_steps = 0

    def loss(self, x: Tensor, y: Tensor, index: Tensor | None) -> Tensor:
        batch = self.selector(x, y, index)
        self.picked = batch.x, batch.y
        self.importance_steps += batch.importance
        logits = self.model(batch.x)
        if batch.importance and self.selector.correction == "none":
            # All weights are 1 and the start rule has latched, so this is batch.mean by torch's
            # own fused loss, which uniform sampling has as well.
            return F.cross_entropy(logits, batch.y)
        return batch.mean(F.cross_entropy(logits, batch.y, reduction="none"))

    def state_dict(self) -> dict[str, Any]:
        return {"selector": self.selector.state_dict(), "importance_steps": self.importance_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.selector.load_state_dict(state["selector"])
        self.importance_steps = state["importance_steps"]


class RowLoopPicker:
    """Gradient norm CDF at the price the paper paid for it: one backward pass per row."""

    counts = None

    def __init__(self, model: nn.Module, rows: int, n: int, seed: int) -> None:
        self.model, self.rows, self.n = model, rows, n
        self.generator = torch.Generator().manual_seed(seed)
        self.importance_steps = 0

    def loss(self, x: Tensor, y: Tensor, index: Tensor | None) -> Tensor:
        norm = row_loop_grad_norm(self.model, x, y)
        rows = torch.multinomial(norm, self.n, replacement=True, generator=self.generator)
        self.picked = x[rows], y[rows]
        self.importance_steps += 1
        return F.cross_entropy(self.model(self.picked[0]), self.picked[1])

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self.generator.get_state(), "importance_steps": self.importance_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["draws"])
        self.importance_steps = state["importance_steps"]


def make_picker(
    strategy: Strategy, model: nn.Module, task: Task, start: str, seed: int, size: int
) -> Picker:
    """The strategy with a model. `start` gives way to a rule of the strategy's own.

    `size` is that of the training pool, for counting how often each sample is picked.
    """
    if strategy.score is None:
        return UniformPicker(model, task.mini)
    if strategy.row_loop:
        return RowLoopPicker(model, task.large, task.mini, seed)
    counts = PickCounts(size) if task.count_picks else None
    rule = strategy.start_rule(start)
    assert rule is not None
    selector = make_selector(strategy, model, task.mini, parse_start(rule), counts, seed)
    return SelectorPicker(model, task.large, selector)


def make_selector(
    strategy: Strategy,
    model: nn.Module,
    n: int,
    start: StartRule,
    counts: PickCounts | None,
    seed: int,
) -> Selector:
    assert strategy.score is not None
    return Selector(
        model,
        n,
        score=strategy.score,
        method=strategy.method,
        correction=strategy.correction,
        start=start,
        counts=counts,
        seed=seed,
    )
