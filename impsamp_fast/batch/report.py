"""What importance sampling costs in a training run, and whether it pays."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What the last steps of a Selector or a Queue took; ``print`` it for words.

    All times are medians in seconds for each mini-batch, None where there were no such steps.

    Attributes:
        steps: how many steps it is about.
        importance_share: the share of these that drew by importance.
        uniform: a whole step that drew uniformly, less what scoring took to learn from it.
        importance: a whole step by importance, which is the sum of the next four, and of
            ``second_model``.
        scoring: the scoring pass.
        selection: the draw.
        gather: the gathering of rows.
        training: the caller's training step and the loading of the next batch.
        tau: how many times as large a uniform mini-batch would have to be to be as good, see
            :func:`~impsamp_fast.select`; of the last large batch that was scored, None of a Queue.
        effective_size: of its drawn rows, (sum of weights)^2 / sum of squared weights.
        n: rows per mini-batch.
        K: rows scored for each, the median of the last large batches.
        batches_per_pool: mini-batches for each scoring pass.
        weighted: whether weights make the mini-batch's mean unbiased, or nearly so.
        compiled: whether the scoring pass is compiled.
        compile_seconds: how long its first call took.
        second_model: the strategy's own model, called and trained; 0 where it has none.
    """

    steps: int
    importance_share: float
    uniform: float | None
    importance: float | None
    scoring: float | None
    selection: float | None
    gather: float | None
    training: float | None
    tau: float | None
    effective_size: float | None
    n: int
    K: int
    batches_per_pool: int
    weighted: bool
    compiled: bool
    compile_seconds: float | None
    second_model: float | None = None

    @property
    def cost(self) -> float | None:
        """A step by importance over a uniform one, or over its own training if there was none."""
        uniform = self.training if self.uniform is None else self.uniform
        if self.importance is None or not uniform:
            return None
        return self.importance / uniform

    @property
    def gain(self) -> float | None:
        """``tau`` over ``cost``: above 1 importance sampling pays by the clock."""
        return None if self.cost is None or self.tau is None else self.tau / self.cost

    def __str__(self) -> str:
        lines = [
            f"{self.steps} steps timed, {100 * self.importance_share:.0f}% of them by importance; "
            f"n = {self.n}, {self.K} rows scored for each"
        ]
        lines += [f"  {name:<24}{_ms(seconds)}" for name, seconds in self._rows() if seconds]
        if self.tau is not None:
            lines.append(f"  {'tau':<24}{self.tau:8.2f}")
        if self.effective_size is not None:
            lines.append(f"  {'effective sample size':<24}{self.effective_size:8.1f}")
        if self.compile_seconds is not None:
            lines.append(f"  {'compiling took':<24}{self.compile_seconds:8.1f} s, once")
        return "\n".join([*lines, self.verdict()])

    def _rows(self) -> list[tuple[str, float | None]]:
        return [
            ("uniform step", self.uniform),
            ("step by importance", self.importance),
            ("  scoring", self.scoring),
            ("  selection", self.selection),
            ("  second model", self.second_model),
            ("  gather", self.gather),
            ("  training", self.training),
        ]

    def verdict(self) -> str:
        """Whether it should pay here, by how much, and what would make it pay."""
        cost, tau = self.cost, self.tau
        if cost is None or (tau is None and self.weighted):
            return "Too little was timed to say whether importance sampling pays here."
        takes = f"a step by importance takes {cost:.2f} uniform steps"
        if tau is None or not self.weighted:
            return (
                f"Without weights tau does not say what a step is worth; {takes}, so it pays if it "
                "needs as many times fewer steps."
            )
        if tau > cost:
            return (
                f"It should pay: {takes} and by its variance is worth {tau:.2f}, "
                f"{tau / cost:.2f} times as much."
            )
        return f"It does not pay: {takes} and is worth {tau:.2f}.{self._cure(cost, tau)}"

    def _cure(self, cost: float, tau: float) -> str:
        cures = [] if self.compiled else ["a faster scoring pass, see tune(x, y)"]
        if tau > 1.02:  # else nothing is to be gained
            m = math.ceil(self.batches_per_pool * (cost - 1) / (tau - 1))
            cures.append(f"batches_per_pool={m}")
            rows = int(self.K * (tau - 1) / (cost - 1))
            if rows > self.n:
                cures.append(f"large batches of {rows * self.batches_per_pool} rows")
        if tau <= 1.02 or not cures:
            return " The scores are so alike that no setting would make it pay."
        return f" It would by {' or '.join(cures)}."


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:8.3f} ms"
