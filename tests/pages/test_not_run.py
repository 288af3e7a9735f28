"""What needs a GPU or several processes runs here too, as far as a CPU and one process go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import impsamp_fast as isf
from impsamp_fast import strategies
from tests.pages.pages import DOCS, blocks, getting_started


def not_run(page: str) -> list[str]:
    return [block.code for block in blocks(DOCS / page) if block.needs is not None]


def test_a_graph_step_on_a_cpu() -> None:
    (code,) = not_run("gpu.md")
    names = getting_started()
    exec(code.replace(".cuda()", "").replace(", capturable=True", ""), names)
    assert names["loss"].isfinite()


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_one_rank(one_rank: None) -> None:
    own_rows, select, all_rows, sampler = not_run("distributed.md")
    names: dict[str, Any] = getting_started()
    model, x, y = names["model"], names["x"][:2048], names["y"][:2048]
    data = TensorDataset(x, y)
    names |= {
        "dist": dist,
        "DistributedDataParallel": DistributedDataParallel,
        "DataLoader": DataLoader,
        "loader": DataLoader(data, batch_size=1024),
        "strategies": strategies,
    }
    exec(own_rows, names)
    assert names["batch"].y.shape == (128,)

    names |= {"logits": model(x[:1024]), "x": x[:1024], "y": y[:1024], "step": 0}
    exec(select, names)
    torch.testing.assert_close(names["loss"], (names["found"].weight * names["losses"]).mean())

    exec(all_rows, names)
    assert names["batch"].y.shape == (256,)

    losses = F.cross_entropy(model(x[:128]), y[:128], reduction="none").detach()
    names |= {"data": data, "epochs": 2, "losses": losses, "logits": model(x[:128]).detach()}
    exec(sampler, names)
    assert isinstance(names["sampler"], isf.InfoBatch)
    assert names["sampler"].memory.loss.isfinite().all()
