"""Data-parallel training: each rank draws from its own large batch, or all from those of all.

    torchrun --standalone --nproc-per-node 2 examples/ddp.py --all-ranks

The task is to tell the points of a ring from the others.
"""

import argparse
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import impsamp_fast as isf

K, N = 1024, 128  # rows of a rank's large batch, and for each rank of a mini-batch


def ring(size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points of a square [size, 2], and whether each is in the ring."""
    x = torch.rand(size, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    radius = x.norm(dim=1)
    return x, ((radius > 0.4) & (radius < 0.8)).long()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Of the rows of all ranks, each of which looks at its own."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    with torch.no_grad():
        hits = (model(x[rank::ranks]).argmax(dim=1) == y[rank::ranks]).sum()
    dist.all_reduce(hits)
    return hits.item() / len(x)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all-ranks", action="store_true", help="draw from the rows of all ranks")
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args(argv)

    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group()  # NCCL for GPUs, gloo for the CPU
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 50), nn.ReLU(), nn.Linear(50, 2)).to(device)
    model = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    if options.all_ranks:  # what one process would draw from all the rows
        group = dist.group.WORLD
        selector = isf.Selector(model, N * dist.get_world_size(), seed=0, group=group)
    else:  # each rank by itself, by a seed of its own
        selector = isf.Selector(model, N, seed=0)

    data = TensorDataset(*ring(options.samples, seed=0))
    sampler = DistributedSampler(data, seed=0)
    loader = DataLoader(data, batch_size=K, sampler=sampler, drop_last=True)
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)
        for x, y in loader:
            batch = selector(x.to(device), y.to(device))
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            optimizer.zero_grad()
            batch.mean(losses).backward()  # not losses.mean(): ranks may have different numbers
            optimizer.step()
        x, y = ring(10_000, seed=1)
        correct = accuracy(model, x.to(device), y.to(device))
        if dist.get_rank() == 0:
            print(f"epoch {epoch}: {correct:.1%} correct")
    dist.barrier()  # a rank that is gone makes one abort that still ends its group
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
