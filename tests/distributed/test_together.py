"""Ranks begin to draw by importance in the same step, also where each would in another."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from impsamp_fast import (
    After,
    BreakEven,
    LossRatio,
    Selector,
    StartRule,
    Together,
    VarianceReduction,
)
from tests.distributed.conftest import Run
from tests.distributed.training import Communicating, large_batch, make_model

RULES: dict[str, Callable[[], StartRule]] = {
    "loss": lambda: LossRatio(0.6),
    "tau": lambda: VarianceReduction(1.05),
    "after": lambda: After(4),
}
STEPS = 40


def train(group: Any, kind: str, together: bool) -> list[bool]:
    """Which steps are by importance."""
    rank, rule = dist.get_rank(group), RULES[kind]()
    layers = [Communicating(group)] if together else []
    model = DistributedDataParallel(make_model(*layers), process_group=group)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    start = Together(rule, group) if together else rule
    selector = Selector(model, 16, start=start, seed=0, rank=rank)
    importance = []
    for step in range(STEPS):
        batch = selector(*large_batch(rank, step))
        importance.append(batch.importance)
        optimizer.zero_grad()
        batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
        optimizer.step()
    return importance


@pytest.mark.parametrize("kind", RULES)
def test_all_ranks_score_in_the_same_steps(run: Run, kind: str) -> None:
    first, second = run(2, train, kind, True)
    assert first == second
    assert True in first
    assert False in first
    if kind != "after":
        alone = run(2, train, kind, False)
        assert alone[0] != alone[1]


def decide_out_of_step(group: Any) -> str:
    rule = Together(LossRatio(0.5), group)
    with pytest.raises(ValueError, match="must be the same on all ranks") as raised:
        rule.decide(3 + dist.get_rank(group), 64, 16)
    return str(raised.value)


def test_ranks_in_different_steps_are_told(run: Run) -> None:
    assert run(2, decide_out_of_step)[0].startswith("step is 3 on rank 0, but 4 on rank 1")


def hear_no_loss(group: Any) -> str:
    rule = Together(LossRatio(0.5), group)
    with pytest.raises(RuntimeError, match="LossRatio has heard no loss") as raised:
        for step in range(200):
            rule.decide(step, 64, 16)
            if dist.get_rank(group) == 0:
                rule.learn(torch.tensor(1.0))
    return str(raised.value)


def test_the_error_of_one_rank_is_raised_on_all(run: Run) -> None:
    first, second = run(2, hear_no_loss)
    assert first == f"on rank 1: {second}"


def test_its_state_is_the_rules() -> None:
    rule = LossRatio(0.5)
    together = Together(rule)
    together.learn(torch.tensor(2.0))
    assert together.state_dict() == rule.state_dict()
    other = Together(LossRatio(0.5))
    other.load_state_dict(together.state_dict())
    assert other.state_dict() == together.state_dict()


def test_its_rule_must_be_one_that_ranks_can_share() -> None:
    with pytest.raises(ValueError, match="BreakEven, which goes by the clock"):
        Together(BreakEven())
    with pytest.raises(TypeError, match="expected a start rule"):
        Together(0.5)  # type: ignore[arg-type]
