"""Draws and selections over the ranks of a process group of ``torch.distributed``."""

from impsamp_fast.distributed._draw import draw
from impsamp_fast.distributed._select import select

__all__ = ["draw", "select"]
