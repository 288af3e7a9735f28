"""A start rule by which the ranks of a process group decide as one."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from impsamp_fast.batch.start import StartRule
from impsamp_fast.distributed._ranks import First, Ranks


@final
class Together(StartRule):
    """A start rule by which all ranks of a process group decide alike.

    ::

        selector = Selector(model, n=128, start=Together(LossRatio(0.5)))

    Ranks that learn from their own rows would begin in different steps. A rank whose model
    communicates in its forward pass, such as a sharded one, then scores alone and waits for ever.
    Here a step is by importance where at least half of the ranks would have it so, each by what it
    has learned itself. That is one gather of a number for each step, before anything is scored; of
    a rule that goes by the step alone, none.

    All ranks must call their strategies in the same steps: give them as many large batches, of at
    least n rows.

    Args:
        rule: one for each rank, all alike. Not :class:`~impsamp_fast.BreakEven`, which goes by the
            clock of one process.
        group: a process group of ``torch.distributed``; None is the default one.

    Raises:
        TypeError: if ``rule`` is no start rule.
        ValueError: if it goes by the clock; in ``decide``, if the ranks are in different steps.
        RuntimeError: in ``decide``, if there is no process group.
    """

    def __init__(self, rule: StartRule, group: Any = None) -> None:
        if not isinstance(rule, StartRule):
            raise TypeError(f"rule is {rule!r}, expected a start rule such as LossRatio(0.5)")
        if rule.learns_times:
            raise ValueError(
                f"rule is {type(rule).__name__}, which goes by the clock of one process: use "
                "LossRatio(threshold) or VarianceReduction()"
            )
        self.rule = rule
        self.group = group
        self.learns_from = rule.learns_from

    def decide(self, step: int, K: int, n: int) -> bool:
        """What at least half of the ranks decide; an error of one is raised on all."""
        if self.rule.learns_from == "nothing":
            return self.rule.decide(step, K, n)

        def say() -> First:
            return {"step": step}, torch.tensor([self.rule.decide(step, K, n)], device="cpu").long()

        ranks = Ranks(self.group)
        return 2 * int(ranks.agree(1, say).sum()) >= ranks.size

    def learn(self, value: Tensor) -> None:
        """Takes in the number of this rank's step."""
        self.rule.learn(value)

    def wants_tau(self, n: int) -> bool:
        """Whether the rule does."""
        return self.rule.wants_tau(n)

    def state_dict(self) -> dict[str, Any]:
        """The rule's, on this rank."""
        return self.rule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError otherwise)."""
        self.rule.load_state_dict(state)
