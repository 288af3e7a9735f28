"""TensorBoard: what a strategy's steps come to."""

from typing import final

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from impsamp_fast.integrations.loggers import Logger


@final
class TensorBoardLogger(Logger):
    """Writes to a ``SummaryWriter``.

    Args:
        writer: where to.
        every: see :class:`~impsamp_fast.integrations.loggers.Logger`, as all that follow.
        histogram_every: likewise.
        prefix: likewise.
    """

    def __init__(
        self,
        writer: SummaryWriter,
        every: int = 50,
        histogram_every: int | None = 500,
        prefix: str = "impsamp/",
    ) -> None:
        super().__init__(every, histogram_every, prefix)
        self.writer = writer

    def _write(self, numbers: dict[str, float], step: int) -> None:
        for name, number in numbers.items():
            self.writer.add_scalar(name, number, step)

    def _write_histogram(self, name: str, values: Tensor, step: int) -> None:
        self.writer.add_histogram(name, values, step)
