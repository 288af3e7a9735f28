"""Two processes of each trainer have the epochs of one, and resume where they were."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.integrations import ranks
from tests.integrations.ranks import EPOCHS, SAVED, Epochs, N

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch has no torch.distributed")

TRAINERS = ["accelerate-False", "accelerate-True", "huggingface", "lightning"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the processes has found."""
    folder = tmp_path_factory.mktemp("ranks")
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    result = subprocess.run(
        [sys.executable, "-m", *launch, ranks.__name__, str(folder)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert result.returncode == 0, result.stderr
    return [torch.load(folder / f"found-{rank}.pt", weights_only=True) for rank in range(2)]


def of_all(found: list[dict[str, Any]], name: str) -> Epochs:
    """The samples of each step of all ranks."""
    return [
        [sorted(one + other) for one, other in zip(*steps, strict=True)]
        for steps in zip(*(rank[name] for rank in found), strict=True)
    ]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_two_processes_have_the_epochs_of_one(found: list[dict[str, Any]], trainer: str) -> None:
    steps = of_all(found, f"{trainer}-False")
    expected = [[sorted(batch) for batch in epoch] for epoch in ranks.by_one_process(2 * N)]
    assert steps == expected
    assert len(steps) == EPOCHS


@pytest.mark.parametrize("trainer", TRAINERS)
def test_two_processes_resume_in_an_epoch(found: list[dict[str, Any]], trainer: str) -> None:
    whole, resumed = (of_all(found, f"{trainer}-{kind}") for kind in (False, True))
    assert resumed == [[], whole[1][SAVED:], *whole[2:]]


def test_each_rank_picks_rows_of_its_own_and_resumes(found: list[dict[str, Any]]) -> None:
    for rank in found:
        whole, resumed = rank["strategy-False"], rank["strategy-True"]
        assert resumed == whole[-len(resumed) :]
        assert 0 < len(resumed) < len(whole)
        importance = [step[-1] for step in whole]
        assert importance == sorted(importance)
        assert set(importance) == {0, 1}
    one, other = (rank["strategy-False"] for rank in found)
    assert all(set(a[:-1]).isdisjoint(b[:-1]) for a, b in zip(one, other, strict=True))


def test_a_sampler_of_lightning_s_around_it_is_told(found: list[dict[str, Any]]) -> None:
    for rank in found:
        assert "DistributedSampler and not this InfoBatch" in rank["wrapped"]
        assert "use_distributed_sampler=False" in rank["wrapped"]
