"""From a batch to the model's logits, whatever the model takes and returns."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from impsamp_fast.batch._nested import are_rows


def call_model(model: Callable[..., Any], x: Any) -> Any:
    """``model(x)`` of a tensor, ``model(*x)`` of a tuple or list, ``model(**x)`` of a mapping.

    Rows that are no tensor are an argument too.
    """
    if isinstance(x, Tensor) or are_rows(x):
        return model(x)
    return model(**x) if isinstance(x, Mapping) else model(*x)


def logits_of(output: Any) -> Any:
    """What a model returned, or its part that is called ``logits``, or a tuple's first matrix."""
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "logits"):
        return output.logits
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    if isinstance(output, tuple | list):
        return next((x for x in output if isinstance(x, Tensor) and x.dim() == 2), output)
    return output


def check_logits(logits: Any, rows: int) -> None:
    """Checks that the model returned logits [rows, C] (TypeError, ValueError)."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"the model returned {type(logits).__name__}, expected a tensor of logits, or an "
            'object, a dict or a tuple that has them as its .logits, as ["logits"] or as its first '
            "matrix: say where they are by scoring=ScoringPass(logits=lambda output: ...)"
        )
    if logits.dim() != 2 or logits.shape[0] != rows:
        raise ValueError(
            f"the model returned logits of shape {list(logits.shape)}, expected "
            f"[{rows}, C], one row of logits for each row of x"
        )
