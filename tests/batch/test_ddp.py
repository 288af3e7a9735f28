"""Under DistributedDataParallel a rank may score alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.batch.ddp_ranks import STEPS, WORLD

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch has no torch.distributed")


def train(folder: Path, kind: str) -> list[tuple[list[bool], list[list[float]]]]:
    """What each rank has done, and the model's state there."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.batch.ddp_ranks", str(folder), kind],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return [torch.load(folder / str(rank), weights_only=True) for rank in range(WORLD)]


@pytest.mark.parametrize("kind", ["wrapped", "nested"])
def test_ranks_may_begin_to_score_in_different_steps(tmp_path: Path, kind: str) -> None:
    ranks = train(tmp_path, kind)
    for rank, (importance, state) in enumerate(ranks):
        assert importance == [step >= 2 + 3 * rank for step in range(STEPS)]
        assert state[0] == ranks[0][1][0]


def test_a_rank_with_more_batches_goes_on_to_score(tmp_path: Path) -> None:
    ranks = train(tmp_path, "join")
    for rank, (importance, state) in enumerate(ranks):
        assert importance == [True] * (STEPS + 3 * rank)
        assert state[0] == ranks[0][1][0]
