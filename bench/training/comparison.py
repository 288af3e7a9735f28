"""What is compared, for how long, and what identifies each of its runs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from bench.report import machine
from bench.tasks.task import Budget, Task
from bench.training.making import make_for_batches, make_for_dataset, parameters_of
from bench.training.preparing import prepared_for_nothing
from bench.training.strategies import OWN_RULE, Strategy

# Tables have the seeds below: rates that are chosen on a table's own seeds would flatter it.
TUNING_SEEDS = 1000


@dataclass(frozen=True)
class Comparison:
    """What is compared, and for how long."""

    task: Task
    strategies: list[Strategy]
    seeds: int
    budget: Budget
    start: str
    out: Path
    targets: tuple[float, ...] = ()  # accuracies; none: uniform sampling's at its end
    rates: Mapping[str, float] = field(default_factory=dict)  # of learning, not the task's
    tuning: dict[str, Any] | None = None  # how the rates were found
    first_seed: int = 0
    pool: int | None = None  # training samples; None: all
    wrong_labels: float = 0.0  # which share of the training samples has one
    rare_classes: float = 1.0  # which share of the latter half of the classes is trained on
    epochs: int = 1  # which data-set level strategies plan for
    keeps_memory: bool = False  # whether the process keeps what is freed
    study: str | None = None  # of bench.papers, whose table and figure the results then have

    @property
    def seed_numbers(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def has_dataset_level(self) -> bool:
        return any(strategy.level == "dataset" for strategy in self.strategies)

    def budget_of(self, strategy: Strategy) -> Budget:
        """The row-by-row loop gets few steps: enough to time it, too slow for the rest."""
        if strategy.row_loop and self.budget.steps is not None:
            return Budget(steps=max(1, self.budget.steps // 150))
        return self.budget

    def rate_of(self, strategy: Strategy) -> float:
        return self.rates.get(strategy.name, self.task.learning_rate)

    def settings(self) -> dict[str, Any]:
        """What holds for all runs, as JSON-ready values."""
        task = self.task
        return {
            "task": task.name,
            "study": self.study,
            "large_batch": task.large,
            "mini_batch": task.mini,
            "optimizer": task.optimizer_name,
            "learning_rate": task.learning_rate,
            "compiled": task.compiled,
            "start": self.start,
            "evaluate_every": task.evaluate_every,
            "evaluations": task.evaluations,
            "budget": asdict(self.budget),
            "pool": self.pool,
            "wrong_labels": self.wrong_labels,
            "rare_classes": self.rare_classes,
            "keeps_memory": self.keeps_memory,
            "epochs": self.epochs if self.has_dataset_level else None,
        }

    def key(self, strategy: Strategy, seed: int) -> dict[str, Any]:
        """What must agree for a run on disk to stand for this one: settings, machine and build."""
        return {
            **self.settings(),
            "strategy": self.description(strategy)["made"],
            "learning_rate": self.rate_of(strategy),
            "recipe": asdict(strategy.recipe),
            "seed": seed,
            "machine": machine.describe(),
            "extension": machine.extension_hash(),
        }

    def description(self, strategy: Strategy) -> dict[str, Any]:
        """A strategy as the results tell it: its looks, and what it was made with."""
        task, size = self.task, self.pool or 1
        rule = strategy.start_rule(self.start, task, size)
        made: dict[str, Any] = {"type": "row loop"}
        correction: str | float = "none"
        if strategy.level == "dataset":
            made = parameters_of(make_for_dataset(strategy, size, self.epochs, 2, seed=0))
            correction = made.get("correction", "none")
            rule = f"epoch:{made.get('warm_up', 1)}"
        elif not strategy.row_loop:
            nothing = nn.Identity()
            scoring = task.fast_scoring
            further = prepared_for_nothing(strategy)
            one = make_for_batches(strategy, nothing, task.mini, rule, None, 0, scoring, **further)
            made = parameters_of(one)
            rule = "its own" if strategy.base in OWN_RULE else rule
            correction = "none" if rule is None else getattr(one, "correction", "none")
        return {
            "label": strategy.label,
            "learning_rate": self.rate_of(strategy),
            "recipe": asdict(strategy.recipe),
            "colour": strategy.colour,
            "line": strategy.line,
            "level": strategy.level,
            "correction": correction,
            "start": rule,
            "made": made,
        }

    def path_of(self, strategy: Strategy, seed: int, suffix: str) -> Path:
        return self.out / "runs" / f"{strategy.name}-{seed}.{suffix}"
