"""Whether classes balance under early-importance weights, as Quercia et al. (2023) report."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.tasks import mnist_files as mnist
from impsamp_fast.dataset import EarlyImportance

CLASSES = 10
FREQUENT, RARE = 500, 50  # samples of each of the classes 0 to 4, and of 5 to 9
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def train(x: Tensor, y: Tensor, map=None) -> tuple[Tensor, Tensor]:
    """The shares of the classes among the data, and among the picks of the epochs after warm-up."""
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    sampler = EarlyImportance(len(y), warm_up=3, map=map, seed=1)
    picks = torch.zeros(CLASSES, dtype=torch.int64)
    for epoch in range(6):
        sampler.set_epoch(epoch)
        for batch in sampler.batches(32):
            index = torch.tensor(batch)
            logits = model(x[index])
            losses = F.cross_entropy(logits, y[index], reduction="none")
            optimizer.zero_grad()
            sampler.mean(losses, index).backward()
            optimizer.step()
            sampler.update(index, logits, y[index], losses=losses)
            if epoch >= 3:
                picks += torch.bincount(y[index], minlength=CLASSES)
    return torch.bincount(y, minlength=CLASSES) / len(y), picks / picks.sum()


def imbalance(shares: Tensor) -> float:
    """The total variation distance of the classes' shares from equal ones: 0 is balanced."""
    return float((shares - 1 / CLASSES).abs().sum() / 2)


def imbalanced(y: Tensor) -> Tensor:
    """The rows to take so that five classes are frequent and five are rare."""
    rows = [(y == c).nonzero().squeeze(1)[: FREQUENT if c < 5 else RARE] for c in range(CLASSES)]
    return torch.cat(rows)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    stem = DATA / "MNIST" / "raw" / "train-images-idx3-ubyte"
    if not (stem.exists() or stem.with_name(stem.name + ".gz").exists()):
        pytest.skip(f"MNIST is not in {stem.parent}; the synthetic test makes the same claim")
    x, y = mnist.load(DATA, "train")
    rows = imbalanced(y)
    return x[rows].flatten(1), y[rows]


@pytest.fixture(scope="module")
def clouds() -> tuple[Tensor, Tensor]:
    """Ten overlapping clouds of points in ten dimensions."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(CLASSES * FREQUENT) % CLASSES
    x = 2.5 * torch.eye(CLASSES)[y] + torch.randn(len(y), CLASSES, generator=generator)
    rows = imbalanced(y)
    return x[rows], y[rows]


# Measured with three seeds each: 0.41 falls to 0.21 and 0.16 on digits, to 0.31 and 0.23 on clouds.
@pytest.mark.parametrize(
    ("data", "map", "most"),
    [
        ("digits", None, 0.25),
        ("digits", torch.square, 0.20),
        ("clouds", None, 0.35),
        ("clouds", torch.square, 0.26),
    ],
    ids=["digits", "digits squared", "clouds", "clouds squared"],
)
def test_classes_come_nearer_to_balance_but_not_all_the_way(request, data, map, most):
    before, after = train(*request.getfixturevalue(data), map)
    assert imbalance(before) == pytest.approx(0.409, abs=0.001)
    assert 0.1 < imbalance(after) < most
    rare = before < 1 / CLASSES
    assert (after[rare] > 1.5 * before[rare]).all()
    assert (after.max() / after.min()) < 0.6 * before.max() / before.min()
