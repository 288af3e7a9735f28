"""Errors on an accelerator, which can say what is wrong only to those who wait for it.

There the operators mark what is wrong and go on: NaN in the statistics of a faulty row and in the
``prob`` of a draw that could not be made, and the ``status`` of a selection. The error that comes
of it later is the CPU's, from the CPU.
"""

from typing import Any

import torch
from torch import Tensor

from impsamp_fast.ops._call import run_eagerly


def raise_if_nan(name: str, marked: Tensor, arguments: tuple[Any, ...]) -> None:
    """Waits for the device and, if ``marked`` has a NaN, lets the operator raise on the CPU."""
    if not marked.is_cpu and bool(marked.isnan().any()):
        run_eagerly(name, tuple(v.cpu() if isinstance(v, Tensor) else v for v in arguments))


def status_error(status: int, n: int, method: str) -> ValueError:
    """The error that the ``status`` of a selection stands for, as far as it tells by itself.

    Args:
        status: not 0.
        n: how many rows were to be drawn.
        method: how.
    """
    if status > 0:
        return row_error(status)
    if status == -1:
        return ValueError("target is ignore_index in every row, so none can be drawn")
    return ValueError(
        f"n is {n}, but only {-1 - status} weights are positive and method "
        f'"{method}" draws without replacement'
    )


def row_error(status: int) -> ValueError:
    """The error of a status that says which row is faulty."""
    row = status - 1
    return ValueError(
        f"score[{row}] is not finite: row {row} has a logit, target, class weight or feature that "
        "cannot be; validate=True says which"
    )


def first_fault(faulty: Tensor) -> Tensor:
    """The status of rows [K] bool: 1 + the first that is faulty, 0 if none is."""
    row = faulty.to(torch.uint8).argmax()
    return torch.where(faulty.any(), row + 1, 0)
