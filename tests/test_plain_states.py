"""Sizes and thresholds often come from numpy or a tensor; states hold Python numbers all the same.

``torch.load`` refuses numpy's scalars with weights_only, and a part its own state with a number of
another kind than it saved.
"""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import impsamp_fast as isf
from tests.toy import C, K, N

SIZE, EPOCHS = 40, 4

# What numpy and torch make of a Python number.
INTEGERS = {"numpy": np.int64, "numpy32": np.int32, "tensor": torch.tensor}
NUMBERS = {"numpy": np.float64, "numpy32": np.float32, "tensor": torch.tensor}
every_kind = pytest.mark.parametrize("kind", INTEGERS)

SAMPLERS = {
    "ActiveBias": lambda i, f: isf.ActiveBias(
        i(SIZE), warm_up=i(1), epsilon=f(0.1), block=i(8), seed=i(3)
    ),
    "Bandit": lambda i, f: isf.Bandit(i(SIZE), rate=f(0.1), floor=f(0.5), block=i(8), seed=i(3)),
    "BatchLossPruning": lambda i, f: isf.BatchLossPruning(
        i(SIZE), i(EPOCHS), alpha=f(0.7), ratio=f(0.5), seed=i(3)
    ),
    "CachedErrors": lambda i, f: isf.CachedErrors(
        *(i(SIZE), i(EPOCHS)),
        share=f(0.5),
        mutation=f(0.5),
        interval=i(2),
        last_interval=i(2),
        seed=i(3),
    ),
    "EarlyImportance": lambda i, f: isf.EarlyImportance(i(SIZE), warm_up=i(1), seed=i(3)),
    "EpochAccuracyFilter": lambda i, f: isf.EpochAccuracyFilter(
        i(SIZE), alpha=f(0.1), full_every=i(2), least=i(8), seed=i(3)
    ),
    "InfoBatch": lambda i, f: isf.InfoBatch(
        i(SIZE), i(EPOCHS), ratio=f(0.5), full_after=f(0.875), seed=i(3)
    ),
    "OnlineBatchSelection": lambda i, f: isf.OnlineBatchSelection(
        i(SIZE), i(EPOCHS), pressure=f(10.0), seed=i(3)
    ),
    "RandomPruning": lambda i, f: isf.RandomPruning(i(SIZE), i(EPOCHS), ratio=f(0.5), seed=i(3)),
    "RandomSubsets": lambda i, f: isf.RandomSubsets(i(SIZE), share=f(0.25), seed=i(3)),
    "RecencyBias": lambda i, f: isf.RecencyBias(
        i(SIZE), i(EPOCHS), i(C), history=i(4), pressure=f(10.0), warm_up=i(1), seed=i(3)
    ),
    "SlidingWindow": lambda i, f: isf.SlidingWindow(
        i(SIZE), i(EPOCHS), ratio=f(0.1), groups=i(4), window=f(0.5), seed=i(3)
    ),
}

STARTS = {
    "Always": lambda i, f: isf.Always(),
    "After": lambda i, f: isf.After(i(1)),
    "LossRatio": lambda i, f: isf.LossRatio(f(0.9)),
    "VarianceReduction": lambda i, f: isf.VarianceReduction(f(1.1), f(0.9)),
}

BATCH = {
    "Selector": lambda model, i, f, start: isf.Selector(
        *(model, i(N)),
        correction=f(0.5),
        smoothing=f(0.25),
        label_smoothing=f(0.1),
        ignore_index=i(-100),
        start=start,
        seed=i(3),
        counts=isf.PickCounts(i(K)),
    ),
    "Accumulator": lambda model, i, f, start: isf.Accumulator(
        *(model, i(N), isf.AccuracyFilter(f(0.1))),
        patience=i(2),
        largest_raw_size=i(K),
        label_smoothing=f(0.1),
        ignore_index=i(-100),
        start=start,
        seed=i(3),
    ),
    "SelectiveBackprop": lambda model, i, f, start: isf.SelectiveBackprop(
        model, i(N), beta=f(1.0), history=i(64), start=start, seed=i(3)
    ),
}


def saved_and_loaded(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_plain(value: object, where: str = "state") -> None:
    """Tensors, and Python's own numbers, texts and containers: no subclass of any."""
    if isinstance(value, dict):
        assert type(value) is dict, where
        for key, part in value.items():
            assert_plain(part, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        assert type(value) in (list, tuple), where
        for position, part in enumerate(value):
            assert_plain(part, f"{where}[{position}]")
    else:
        assert type(value) in (Tensor, int, float, bool, str, type(None)), f"{where}: {value!r}"


@every_kind
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_samplers_state(name, kind):
    arguments = INTEGERS[kind], NUMBERS[kind]
    sampler, resumed = SAMPLERS[name](*arguments), SAMPLERS[name](*arguments)
    for epoch in range(2):
        sampler.set_epoch(INTEGERS[kind](epoch))
        index = torch.tensor(list(sampler))
        logits = torch.randn(len(index), C, generator=torch.Generator().manual_seed(epoch))
        sampler.update(index, logits, index % C)
    state = sampler.state_dict()
    assert_plain(state)
    sampler.load_state_dict(state)
    resumed.load_state_dict(saved_and_loaded(state))
    assert list(resumed) == list(sampler)


@every_kind
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", BATCH)
def test_a_batch_strategys_state(name, start, kind, model, data):
    if start == "VarianceReduction" and name != "Selector":
        return  # a queue has no tau to learn from
    arguments = INTEGERS[kind], NUMBERS[kind]
    made = [BATCH[name](model, *arguments, STARTS[start](*arguments)) for _ in range(2)]
    x, y = data
    for _ in range(3):
        batch = made[0](x, y)
        if batch is not None:
            batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))
    state = made[0].state_dict()
    assert_plain(state)
    made[0].load_state_dict(state)
    made[1].load_state_dict(saved_and_loaded(state))
    batches = [part(x, y) for part in made]
    assert [batch is None for batch in batches] in ([True, True], [False, False])
    if batches[0] is not None:
        assert torch.equal(batches[0].index, batches[1].index)


class Subclass(Tensor):
    """A tensor of another type, such as torchvision's images."""


def test_rows_of_a_tensor_subclass_wait_as_plain_tensors(model, data):
    x, y = data
    queue = isf.SelectiveBackprop(model, K + 1, start=isf.After(9), seed=0)
    assert queue(x.as_subclass(Subclass), y) is None
    assert_plain(queue.state_dict())
