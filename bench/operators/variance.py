"""What the ways to draw save: the variance of estimates from a mini-batch, beside uniform rows.

A Two Circles network is trained for a while, then one large batch is drawn from over and over. Each
mini-batch estimates two means over the large batch: of the loss and of its gradient with respect
to all weights. The variance of the gradient is the sum over its components.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast
from bench.report import machine
from bench.report.files import RESULTS, write_json
from bench.report.operator_tables import UNIFORM, variance_markdown
from bench.tasks import two_circles
from tests.methods import RANDOM_METHODS, WITHOUT_REPLACEMENT

RESULT = RESULTS / "variance.json"
STEPS = 300  # of training, uniform
DRAWS = 4000


def main(out: Path) -> None:
    """Measure all methods and write the JSON."""
    task = two_circles.TASK
    torch.manual_seed(0)
    model = trained_network(task.learning_rate, task.mini)
    x, y = two_circles.sample(task.large, seed=3)
    logits = model(x).detach()
    each = {"loss": row_losses(logits, y)[:, None], "gradient": row_gradients(model, x, y)}
    score = impsamp_fast.score(logits, y)
    weights = {UNIFORM: torch.ones_like(score)} | dict.fromkeys(RANDOM_METHODS, score)
    variance = {
        name: estimate_variance(each, weight, task.mini, "race" if name == UNIFORM else name)
        for name, weight in weights.items()
    }
    result = {
        "format": 1,
        "machine": machine.describe(),
        "commit": machine.commit(),
        "K": task.large,
        "n": task.mini,
        "steps": STEPS,
        "draws": DRAWS,
        "variance": variance,
    }
    write_json(out, result)
    print(variance_markdown(result), end="")
    print(out)


def trained_network(learning_rate: float, n: int) -> nn.Module:
    model = two_circles.network()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    x, y = two_circles.sample(STEPS * n, seed=1)
    for batch_x, batch_y in zip(x.split(n), y.split(n), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(batch_x), batch_y).backward()
        optimizer.step()
    return model


def row_losses(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits.double(), y, reduction="none")


def row_gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of each row's loss with respect to all weights, [K, weights] float64."""
    rows = []
    for row, target in zip(x, y, strict=True):
        loss = F.cross_entropy(model(row[None]), target[None])
        parts = torch.autograd.grad(loss, list(model.parameters()))
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows).double()


def estimate_variance(
    each: dict[str, Tensor], weights: Tensor, n: int, method: str
) -> dict[str, float]:
    """The variance of the weighted mean of n rows, for each of several quantities [K, D]."""
    estimates: dict[str, list[Tensor]] = {name: [] for name in each}
    for seed in range(DRAWS):
        index, prob = impsamp_fast.draw(weights, n, method, seed=seed)
        weight = (n if method in WITHOUT_REPLACEMENT else 1) / (len(weights) * prob.double())
        for name, values in each.items():
            estimates[name].append((weight[:, None] * values[index]).mean(0))
    return {
        name: torch.stack(values).var(0, correction=1).sum().item()
        for name, values in estimates.items()
    }
