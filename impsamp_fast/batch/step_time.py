"""What a step of a training loop takes."""

from typing import NamedTuple


class StepTime(NamedTuple):
    """What a call of a :class:`~impsamp_fast.Selector` took, and all until the next one.

    Attributes:
        importance: whether rows were drawn by importance.
        steps: how many mini-batches were trained on.
        scored: how many rows were scored.
        whole: seconds from this call to the next one.
        scoring: seconds of the scoring pass.
        selection: seconds of the draw.
        gather: seconds in which rows were gathered.
        second_model: seconds of the strategy's own model, called and trained.
    """

    importance: bool
    steps: int
    scored: int
    whole: float
    scoring: float
    selection: float
    gather: float
    second_model: float = 0.0

    @property
    def training(self) -> float:
        """Seconds of all that is the caller's: the training step, and the next batch's loading."""
        return self.whole - self.scoring - self.selection - self.gather - self.second_model
