"""Large batches of fewer than n rows, such as the last one of an epoch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from impsamp_fast import strategies
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After, LossRatio, VarianceReduction
from impsamp_fast.dataset.pick_counts import PickCounts
from tests.toy import C, K, N

SIZE = 2 * K + N - 3  # the last large batch of an epoch has N - 3 rows


@pytest.fixture
def loader():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(SIZE, 5, generator=generator)
    y = torch.randint(C, (SIZE,), generator=generator)
    return DataLoader(TensorDataset(x, y, torch.arange(SIZE)), batch_size=K)


def train(selector: Selector, loader: DataLoader) -> list:
    batches = []
    for batch in selector.batches(loader):
        batch.mean(F.cross_entropy(selector.model(batch.x), batch.y, reduction="none"))
        batches.append(batch)
    return batches


every_start = pytest.mark.parametrize(
    "start", [None, lambda: After(99), lambda: LossRatio(0.99), VarianceReduction]
)


@every_start
def test_raise_unless_told_otherwise(model, loader, start):
    selector = Selector(model, N, start=start and start())
    with pytest.raises(ValueError, match=r'n is 16, .* only 13 rows: .*small_batch="skip"'):
        train(selector, loader)
    assert selector.state_dict()["step"] == 2


@every_start
def test_are_skipped(model, loader, start):
    counts = PickCounts(SIZE)
    selector = Selector(model, N, start=start and start(), small_batch="skip", counts=counts)
    *_, last = loader
    assert len(train(selector, loader)) == 2
    before = str(selector.state_dict())
    assert selector(*last) is None
    assert str(selector.state_dict()) == before
    assert len(train(selector, loader)) == 2
    assert selector.state_dict()["step"] == 4
    assert counts.counts.sum() == 4 * N


@every_start
def test_are_taken_whole(model, loader, start):
    counts = PickCounts(SIZE)
    selector = Selector(model, N, start=start and start(), small_batch="all", counts=counts)
    x, y, index = list(loader)[-1]
    scored = []
    model.register_forward_hook(lambda module, inputs, output: scored.append(len(output)))
    *others, batch = train(selector, loader)
    assert [other.index.numel() for other in others] == [N, N]
    assert not batch.importance
    order = batch.index.argsort()
    assert torch.equal(batch.index[order], index)
    assert torch.equal(batch.x[order], x)
    assert torch.equal(batch.y[order], y)
    assert torch.equal(batch.weight, torch.ones(N - 3))
    assert scored[-1:] == [N - 3]
    assert scored.count(N - 3) == 1  # training only
    assert torch.equal(counts.counts[index], torch.ones(N - 3, dtype=torch.int64))
    assert selector.state_dict()["step"] == 3


@pytest.mark.parametrize("name", ["random-subset", "highest-loss", "top-q", "kf18", "loss-split"])
def test_strategies_made_of_a_selector_let_the_user_choose(model, loader, name):
    rows = {}
    for small_batch in ("skip", "all"):
        strategy = strategies.make(name, model, N, small_batch=small_batch, seed=0)
        rows[small_batch] = [batch.index.numel() for batch in train(strategy, loader)]
    assert rows["all"] == [*rows["skip"], N - 3]


def test_an_empty_one_is_none_of_them(model):
    x, y = torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)
    assert Selector(model, N, small_batch="skip")(x, y) is None
    with pytest.raises(ValueError, match="the large batch has no rows"):
        Selector(nn.Identity(), N, small_batch="all")(x, y)
