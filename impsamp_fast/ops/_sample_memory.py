"""What the sample memory's operators return, without its values."""

import torch
from torch import Tensor

import impsamp_fast._extension  # noqa: F401 (defines the operators)


def _fake_memory_update(*given: Tensor | None) -> None:
    return None


def _fake_label_entropy(labels: Tensor, seen: Tensor, classes: int) -> Tensor:
    return seen.new_empty(seen.shape, dtype=torch.float32)


torch.library.register_fake("impsamp_fast::memory_update", _fake_memory_update)
torch.library.register_fake("impsamp_fast::label_entropy", _fake_label_entropy)
