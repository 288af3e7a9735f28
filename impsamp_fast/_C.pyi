"""The operators, and with ``_out`` those that fill the caller's tensors.

Arguments are positional, as in the schemas of csrc/arguments.h; impsamp_fast.ops names them.
"""

from collections.abc import Callable
from typing import Any

def __getattr__(name: str) -> Callable[..., Any]: ...
