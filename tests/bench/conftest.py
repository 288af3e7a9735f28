"""What every test of the benchmarks gets: as little as possible is measured."""

import pytest
import torch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("bench.training.time_split.MOST", 3)
    monkeypatch.setattr("bench.training.runner.WARM_UP_STEPS", 1)
