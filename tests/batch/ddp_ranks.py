"""Two ranks that do not score in the same steps: the process that a test starts."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from impsamp_fast import After, Selector

STEPS, WORLD = 8, 2


class Wrapping(nn.Module):
    """A model that has a wrapped part."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(x)


def train(rank: int, folder: str, kind: str) -> None:
    """Trains; rank 1 is the last to score, or has the most batches."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD
    )
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))
    model = wrapper = DistributedDataParallel(model)
    if kind == "nested":
        model = Wrapping(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    joins = kind == "join"
    selector = Selector(model, 8, start=After(0 if joins else 2 + 3 * rank), seed=rank)
    generator = torch.Generator().manual_seed(rank)
    importance = []
    with wrapper.join(enable=joins):
        for _ in range(STEPS + 3 * rank if joins else STEPS):
            x = torch.randn(32, 5, generator=generator)
            batch = selector(x, (x[:, 0] > 0).long())
            importance.append(batch.importance)
            optimizer.zero_grad()
            batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none")).backward()
            optimizer.step()
    state = [value.tolist() for value in model.state_dict().values()]
    torch.save((importance, state), Path(folder) / str(rank))
    dist.barrier()  # a rank that is gone while the other still ends its group makes that one abort
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(train, (sys.argv[1], sys.argv[2]), nprocs=WORLD)
