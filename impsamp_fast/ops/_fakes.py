"""What each operator returns, without its values: shapes and dtypes for ``torch.compile``."""

import torch
from torch import Tensor

import impsamp_fast._extension  # noqa: F401 (defines the operators)


def _result_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _fake_statistic(logits: Tensor) -> Tensor:
    return logits.new_empty(logits.shape[:-1], dtype=_result_dtype(logits))


def fake_row_stats(
    logits: Tensor,
    target: Tensor,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> tuple[Tensor, ...]:
    return tuple(_fake_statistic(logits) for _ in range(5))


def fake_score(
    logits: Tensor,
    target: Tensor,
    kind: str = "grad_norm",
    features: Tensor | None = None,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> Tensor:
    return _fake_statistic(logits)


def fake_draw(
    weights: Tensor,
    n: int,
    method: str = "multinomial",
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    return weights.new_empty(n, dtype=torch.int64), weights.new_empty(
        n, dtype=_result_dtype(weights)
    )


def fake_select(
    logits: Tensor,
    target: Tensor,
    n: int,
    score: str = "grad_norm",
    method: str = "multinomial",
    correction: str = "unbiased",
    exponent: float | None = None,
    features: Tensor | None = None,
    smoothing: float = 0.0,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> tuple[Tensor, ...]:
    return (
        logits.new_empty(n, dtype=torch.int64),
        logits.new_empty(n, dtype=_result_dtype(logits)),
        _fake_statistic(logits),
        _fake_statistic(logits),
        logits.new_empty((), dtype=_result_dtype(logits)),
        logits.new_empty((), dtype=torch.int64),
    )


def fake_memory_update(
    index: Tensor,
    losses: Tensor | None,
    p_true: Tensor | None,
    predicted: Tensor | None,
    seen: Tensor,
    loss: Tensor | None,
    p_true_mean: Tensor | None,
    p_true_squares: Tensor | None,
    labels: Tensor | None,
) -> None:
    return None


def fake_label_entropy(labels: Tensor, seen: Tensor, classes: int) -> Tensor:
    return seen.new_empty(seen.shape, dtype=torch.float32)


torch.library.register_fake("impsamp_fast::row_stats", fake_row_stats)
torch.library.register_fake("impsamp_fast::score", fake_score)
torch.library.register_fake("impsamp_fast::draw", fake_draw)
torch.library.register_fake("impsamp_fast::select", fake_select)
torch.library.register_fake("impsamp_fast::memory_update", fake_memory_update)
torch.library.register_fake("impsamp_fast::label_entropy", fake_label_entropy)

# With a place for the results given, nothing is returned.
for _name in ("row_stats", "score", "draw", "select"):
    torch.library.register_fake(f"impsamp_fast::{_name}.out", lambda *args, **kwargs: None)
