"""The operators as csrc/bindings.cpp binds them; impsamp_fast.ops gives them names and defaults."""

import torch
from torch import Tensor

def row_stats(
    logits: Tensor,
    target: Tensor,
    label_smoothing: float,
    class_weight: Tensor | None,
    ignore_index: int | None,
    /,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]: ...
def row_stats_out(
    logits: Tensor,
    target: Tensor,
    label_smoothing: float,
    class_weight: Tensor | None,
    ignore_index: int | None,
    loss: Tensor,
    grad_norm: Tensor,
    p_true: Tensor,
    margin: Tensor,
    entropy: Tensor,
    /,
) -> None: ...
def score(
    logits: Tensor,
    target: Tensor,
    kind: str,
    features: Tensor | None,
    label_smoothing: float,
    class_weight: Tensor | None,
    ignore_index: int | None,
    /,
) -> Tensor: ...
def score_out(
    logits: Tensor,
    target: Tensor,
    kind: str,
    features: Tensor | None,
    label_smoothing: float,
    class_weight: Tensor | None,
    ignore_index: int | None,
    out: Tensor,
    /,
) -> None: ...
def draw(
    weights: Tensor,
    n: int,
    method: str,
    seed: int | None,
    generator: torch.Generator | None,
    /,
) -> tuple[Tensor, Tensor]: ...
def draw_out(
    weights: Tensor,
    n: int,
    method: str,
    seed: int | None,
    generator: torch.Generator | None,
    device_seed: Tensor | None,
    index: Tensor,
    prob: Tensor,
    /,
) -> None: ...
def select(
    logits: Tensor,
    target: Tensor,
    n: int,
    score: str,
    method: str,
    correction: str,
    exponent: float | None,
    features: Tensor | None,
    smoothing: float,
    seed: int | None,
    generator: torch.Generator | None,
    label_smoothing: float,
    class_weight: Tensor | None,
    ignore_index: int | None,
    /,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]: ...
def smoothed(
    scores: Tensor, smoothing: float, ignored: Tensor | None, /
) -> tuple[Tensor, Tensor]: ...
def corrected(
    prob: Tensor,
    drawn_by: Tensor,
    rows: int,
    kind: str,
    correction: str,
    exponent: float | None,
    /,
) -> Tensor: ...
def memory_update(
    index: Tensor,
    losses: Tensor | None,
    p_true: Tensor | None,
    predicted: Tensor | None,
    seen: Tensor,
    loss: Tensor | None,
    p_true_mean: Tensor | None,
    p_true_squares: Tensor | None,
    labels: Tensor | None,
    /,
) -> None: ...
def select_out(
    logits: Tensor,
    target: Tensor,
    n: int,
    score: str,
    method: str,
    correction: str,
    exponent: float | None,
    features: Tensor | None,
    smoothing: float,
    seed: int | None,
    generator: torch.Generator | None,
    label_smoothing: float,
    class_weight: Tensor | None,
    ignore_index: int | None,
    device_seed: Tensor | None,
    index: Tensor,
    weight: Tensor,
    out_score: Tensor,
    loss: Tensor,
    tau: Tensor,
    status: Tensor,
    /,
) -> None: ...
