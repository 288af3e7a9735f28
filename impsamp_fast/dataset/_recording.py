"""Draws with replacement that are weighted by the probability of the draw."""

from typing import ClassVar

import torch
from torch import Tensor

from impsamp_fast.dataset.weighted import WeightedSampler


class RecordingSampler(WeightedSampler):
    """Weighs a sample by 1 / (N p), for the p that it was drawn by last; 4 bytes per sample."""

    tables: ClassVar = {
        "relative": (torch.float32, 1.0),  # N p in the last draw of the sample
    }

    def _record(self, index: Tensor, relative: Tensor) -> None:
        self._tables["relative"][index] = relative

    def _weight(self, index: Tensor) -> Tensor:
        return self._tables["relative"][index].reciprocal_()
