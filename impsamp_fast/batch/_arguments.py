"""Checks of the arguments that the strategies of the batch share."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from impsamp_fast._checks import check_integer
from impsamp_fast.batch._nested import Targets, check_rows
from impsamp_fast.batch.diversity import FeatureRule
from impsamp_fast.batch.draw_rules import DrawRule
from impsamp_fast.batch.filters import Filter
from impsamp_fast.batch.start import StartRule


def check_parts(model: nn.Module, n: int, start: StartRule | None, rank: int | None) -> int:
    """Checks the arguments that all constructors have (TypeError, ValueError); n as an int."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {type(model).__name__}, expected an nn.Module")
    if start is not None and not isinstance(start, StartRule):
        raise TypeError(f"start is {start!r}, expected a start rule such as Always() or After(100)")
    if rank is not None:
        check_integer("rank", rank, 0)
    return check_integer("n", n, 1)


def check_draw_parts(method: object, filter: object, layer: object, score: object) -> None:
    """Checks the parts by which a selector draws (TypeError, ValueError); the operator the rest."""
    if not isinstance(method, str | DrawRule):
        raise TypeError(f"method is {method!r}, expected a str or a rule such as LossSplit()")
    if filter is not None and not isinstance(filter, Filter):
        raise TypeError(f"filter is {filter!r}, expected a filter such as AccuracyFilter() or None")
    if layer is not None and not isinstance(layer, str | nn.Module):
        raise TypeError(f"layer is {layer!r}, expected a str, an nn.Module or None")
    if layer is not None and score != "last_layer" and not isinstance(method, FeatureRule):
        raise ValueError(f'layer is {layer!r}, but only score "last_layer" looks at a layer')


def check_batch(x: Any, y: Tensor, index: Tensor | None) -> int:
    """The number of rows K of a raw batch, once all of its parts agree on it."""
    if y is None:
        raise TypeError(
            "y is missing: call with (x, y), or make the strategy with target=, the key of the "
            "targets in a dict batch"
        )
    if not isinstance(y, Tensor | Targets):
        raise TypeError(f"y is {type(y).__name__}, expected a tensor")
    if y.dim() == 0:
        raise ValueError("y is a scalar, expected a tensor whose first dimension is the rows")
    K = y.shape[0]
    if isinstance(y, Targets):
        check_rows("y", y.parts, K)
    check_rows("x", x, K)
    if index is not None:
        if not isinstance(index, Tensor):
            raise TypeError(f"index is {type(index).__name__}, expected a tensor")
        if index.shape != (K,):
            raise ValueError(f"index has shape {list(index.shape)}, expected [{K}], as y has")
        if index.device != y.device:
            raise ValueError(f"index is on {index.device}, but y is on {y.device}")
    return K


def unpack(item: Any) -> tuple[Any, Any, Tensor | None]:
    """The x, y and index of what a loader yields; a mapping has its target in it."""
    if isinstance(item, Mapping):
        return item, None, None
    if not isinstance(item, tuple | list):
        raise TypeError(
            f"the loader yields {type(item).__name__}, expected (x, y) or (x, y, index), or a dict "
            "and a strategy with target=: or call the strategy yourself for each of its batches"
        )
    if len(item) == 2:
        return item[0], item[1], None
    if len(item) == 3:
        return item[0], item[1], item[2]
    raise ValueError(f"the loader yields {len(item)} values, expected (x, y) or (x, y, index)")
