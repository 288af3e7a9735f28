"""Strategies made for a run, and what they were made with.

What a strategy counts in epochs is fitted to runs that are much shorter than those of its paper.
"""

import inspect
from typing import Any

import torch
from torch import nn

from bench.training.strategies import Strategy
from impsamp_fast import (
    After,
    Always,
    BreakEven,
    LossRatio,
    PickCounts,
    ScoringPass,
    StartRule,
    VarianceReduction,
)
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset import DatasetSampler

# Warm-ups are cut to this share of a run's epochs, and to one epoch at least.
WARM_UP_SHARE = 0.15


def parse_start(text: str) -> StartRule:
    """From "always", "after:STEPS", "ratio:R", "variance[:THRESHOLD]", "break-even"."""
    kind, _, value = text.partition(":")
    try:
        if kind == "always" and not value:
            return Always()
        if kind == "break-even" and not value:
            return BreakEven()
        if kind == "variance":
            return VarianceReduction(float(value) if value else None)
        if kind == "after":
            return After(int(value))
        if kind == "ratio":
            return LossRatio(float(value))
    except ValueError:
        pass
    raise SystemExit(
        f'start is "{text}", expected "always", "after:STEPS", "ratio:R", '
        '"variance:THRESHOLD" or "break-even"'
    )


def make_for_batches(
    strategy: Strategy,
    model: nn.Module,
    n: int,
    rule: str | None,
    counts: PickCounts | None,
    seed: int,
    fast_scoring: ScoringPass,
    **prepared: Any,
) -> BatchStrategy:
    """A batch-level strategy by its factory; `rule` is None for those that take no start rule.

    `prepared` is what was made for it before the run, see `bench.training.preparing`.
    """
    options: dict[str, Any] = prepared if rule is None else prepared | {"start": parse_start(rule)}
    if strategy.fast:
        options["scoring"] = fast_scoring
    if strategy.batches_per_pool > 1:
        options["batches_per_pool"] = strategy.batches_per_pool
    if strategy.whole_uniform:
        options["whole_uniform"] = True
    made = strategy.registered(model, n, counts=counts, seed=seed, **options)
    assert isinstance(made, BatchStrategy)
    return made


def make_for_dataset(
    strategy: Strategy, size: int, epochs: int, classes: int, seed: int
) -> DatasetSampler:
    """A data-set level strategy by its factory, with a warm-up that fits into the epochs."""
    fitted = {}
    warm_up = inspect.signature(strategy.registered.make).parameters.get("warm_up")
    if warm_up is not None:
        fitted["warm_up"] = min(warm_up.default, max(1, round(WARM_UP_SHARE * epochs)))
    sampler = strategy.registered(size, epochs=epochs, classes=classes, seed=seed, **fitted)
    assert isinstance(sampler, DatasetSampler)
    return sampler


def parameters_of(part: Any) -> Any:
    """What a strategy was made with, as JSON-ready values: parts keep their arguments by name."""
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, torch.memory_format | torch.dtype):
        return str(part)
    if isinstance(part, tuple | list):
        return [parameters_of(value) for value in part]
    if isinstance(part, nn.Module | PickCounts | torch.Tensor) or not hasattr(part, "__dict__"):
        return type(part).__name__
    arguments = [name for name in inspect.signature(type(part)).parameters if hasattr(part, name)]
    names = dict.fromkeys([*arguments, *(name for name in vars(part) if name[0] != "_")])
    return {"type": type(part).__name__} | {n: parameters_of(getattr(part, n)) for n in names}
