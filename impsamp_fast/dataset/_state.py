"""Checks of a sampler's saved state."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from impsamp_fast._checks import check_index, check_saved_integers

_KEYS = {"sampler", "size", "seed", "epoch", "length", "position", "drawn", "memory", "tables"}


def check_state(
    state: Mapping[str, Any], sampler: str, size: int, tables: Mapping[str, Tensor]
) -> Tensor | None:
    """The indices that a state has drawn ahead, None if its epoch has not begun.

    Args:
        state: to be loaded.
        sampler: the name of the class that is to load it.
        size: of the data set.
        tables: of the sampler that is to load it.

    Raises:
        KeyError, TypeError, ValueError, IndexError: if it does not fit; its memory is not checked.
    """
    if set(state) != _KEYS:
        raise KeyError(f"the state has the keys {sorted(state)}, expected {sorted(_KEYS)}")
    for name, own in (("sampler", sampler), ("size", size)):
        if state[name] != own:
            raise ValueError(
                f"the state's {name} is {state[name]!r}, this sampler's is {own!r}: make the "
                "sampler with the arguments of the one that was saved"
            )
    check_saved_integers(state, "seed", "position")
    check_saved_integers(state, "epoch", least=0)
    _check_tables(state["tables"], tables)
    if state["drawn"] is None:
        return None
    check_saved_integers(state, "length")
    drawn = check_index(state["drawn"], size)
    if not 0 <= state["position"] <= state["position"] + len(drawn) <= state["length"]:
        raise ValueError(
            f"the state has position {state['position']} and {len(drawn)} indices drawn ahead, "
            f"which does not fit into an epoch of {state['length']}"
        )
    return drawn


def _check_tables(found: Any, tables: Mapping[str, Tensor]) -> None:
    if not isinstance(found, Mapping) or set(found) != set(tables):
        raise KeyError(f"the state's tables are {found!r:.80}, expected {sorted(tables)}")
    for name, table in tables.items():
        value = found[name]
        fits = isinstance(value, Tensor) and value.dtype == table.dtype
        if not fits or value.shape != table.shape:
            raise TypeError(
                f"the state's table {name} is {value!r:.80}, expected a {table.dtype} tensor of "
                f"shape {list(table.shape)}"
            )
