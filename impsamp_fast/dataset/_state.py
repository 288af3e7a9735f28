"""A sampler's saved state: its position, and whether it fits."""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from impsamp_fast._checks import check_index, check_integer, check_saved_integers
from impsamp_fast.dataset._epochs import Pass

_KEYS = {"sampler", "size", "seed", "epoch", "length", "position", "drawn", "memory", "tables"}


def position_to_save(position: int | None, this: Pass | None) -> int:
    """The position of a state, which is that of the pass under way if none is given.

    Raises:
        TypeError, ValueError: if the pass has not been there.
    """
    first, handed_out = (0, 0) if this is None else (this.first, this.position)
    position = check_integer("position", handed_out if position is None else position, 0)
    if position > handed_out:
        raise ValueError(
            f"position is {position}, but only {handed_out} indices of this epoch were handed out"
        )
    if position < first:
        raise ValueError(
            f"position is {position}, but the state that was loaded went on at {first}: what "
            "came before is not known"
        )
    return position


def look_for_asking_ahead(this: Pass | None, trained: int) -> None:
    """Warns if a state is to skip what was handed out and not trained on."""
    if this is None or this.is_over:
        return
    if this.first < trained < this.position:
        warnings.warn(
            f"{this.position} indices of this epoch were handed out, and update was told of "
            f"{trained}: if a loader or a trainer has asked ahead, the state skips the "
            "others; save state_dict(position=sampler.trained)",
            stacklevel=3,
        )


def pass_of(state: Mapping[str, Any], drawn: Tensor, order: Tensor) -> Pass:
    """The pass that a state goes on with.

    Args:
        state: that was checked.
        drawn: the indices that it has drawn ahead.
        order: room for those of its epoch.
    """
    first = state["position"]
    this = Pass(state["epoch"], order, drawn=first, first=first, position=first)
    this.add(drawn)
    return this


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
