"""The training pool as raw batches."""

import torch

from bench.tasks.task import Data
from bench.training.stream import Shuffled, Stream


def test_a_stream_gives_each_row_at_most_once_per_epoch() -> None:
    x = torch.arange(100.0)[:, None]
    data = Data(x, torch.arange(100), x, torch.arange(100))
    stream = Stream(Shuffled(data, seed=0), with_index=True)
    epoch = []
    while stream.position + 16 <= 100:
        rows, y, index = stream.next(16)
        assert torch.equal(rows[:, 0].long(), y)
        assert index is not None
        assert torch.equal(index, y)
        epoch += y.tolist()
    assert len(set(epoch)) == len(epoch) == 96
    stream.next(16)
    assert stream.position <= 31  # starts over, at another offset
