"""What every strategy at the level of the data set keeps to."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from impsamp_fast import strategies
from impsamp_fast.dataset import DatasetSampler, WithIndex
from tests.dataset.dataset_run import (
    CLASSES,
    EPOCHS,
    SHORT,
    SIZE,
    TARGET,
    UNTAUGHT,
    N,
    logits_of,
    make,
    show,
    train,
)
from tests.dataset.memories import assert_same_state, learned

NAMES = strategies.names("dataset")
every_strategy = pytest.mark.parametrize("name", NAMES)
every_learner = pytest.mark.parametrize("name", [name for name in NAMES if name != UNTAUGHT])


@every_strategy
def test_epochs_are_of_samples_with_weights(name):
    sampler = make(name)
    assert isinstance(sampler, DatasetSampler)
    assert isinstance(sampler, Sampler)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        length = len(sampler)
        indices = list(sampler)
        assert len(indices) == length
        assert 10 <= length <= SIZE
        assert all(type(index) is int for index in indices)
        index = torch.tensor(indices)
        assert index.min() >= 0
        assert index.max() < SIZE
        weight = sampler.weight(index[:N])
        assert weight.shape == (N,)
        assert weight.dtype == torch.float32
        assert weight.isfinite().all()
        assert (weight > 0).all()
        losses = torch.rand(N, requires_grad=True)
        mean = sampler.mean(losses, index[:N])
        torch.testing.assert_close(mean, (losses * weight).mean())
        mean.backward()
        torch.testing.assert_close(losses.grad, weight / N)
        show(sampler, epoch, index)


@every_learner
def test_the_first_epoch_is_of_all_samples(name):
    sampler = make(name)
    first = list(sampler)
    assert len(first) == SIZE
    if name != "bandit":  # which draws with replacement from the start
        assert sorted(first) == list(range(SIZE))


@every_learner
def test_what_is_learned_decides(name):
    told, untold = make(name), make(name)
    batches = torch.arange(SIZE).split(N)
    for sampler in (told, untold):
        sampler.set_epoch(0)
        for index in batches:
            show(sampler, 0, index)
    for index in batches:
        show(told, 3, index)
    for sampler in (told, untold):
        sampler.set_epoch(1)
    assert list(told) != list(untold)


@every_strategy
def test_the_seed_decides(name):
    picks = train(make(name, seed=5), 0, 3)
    assert train(make(name, seed=5), 0, 3) == picks
    assert train(make(name, seed=6), 0, 3) != picks
    torch.manual_seed(2)
    unseeded = train(make(name, seed=None), 0, 3)
    assert train(make(name, seed=None), 0, 3) != unseeded
    torch.manual_seed(2)
    assert train(make(name, seed=None), 0, 3) == unseeded


@every_strategy
def test_the_number_of_threads_does_not(name):
    torch.set_num_threads(1)
    picks = train(make(name), 0, 4)
    torch.set_num_threads(2)
    assert train(make(name), 0, 4) == picks


@every_strategy
def test_torchs_random_state_is_left_alone(name):
    sampler = make(name)
    before = torch.get_rng_state()
    train(sampler, 0, EPOCHS)
    assert torch.equal(torch.get_rng_state(), before)


# Where training stops: in the first epoch, in a later one, and between two.
STOPS = {"first epoch": (1, 3), "later epoch": (4, 2), "between epochs": (3, None)}


@pytest.fixture(scope="module")
def continued(tmp_path_factory) -> dict[tuple[str, str], list[list[int]]]:
    """The picks of a new process that goes on from the states of all strategies at all stops."""
    folder = tmp_path_factory.mktemp("states")
    states = {}
    for name in NAMES:
        for stop, (last, steps) in STOPS.items():
            sampler = make(name)
            train(sampler, 0, last, steps)
            first = last if steps is None else last - 1
            states[name, stop] = {"first": first, "sampler": sampler.state_dict()}
    torch.save(states, folder / "states")
    run = [sys.executable, "-m", "tests.dataset.dataset_run", folder / "states", folder / "picks"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(run, cwd=Path(__file__).parents[2], env=environment, check=True)
    return torch.load(folder / "picks", weights_only=True)


@every_strategy
@pytest.mark.parametrize("stop", STOPS)
def test_a_state_goes_on_in_a_new_process(continued, name, stop):
    last, steps = STOPS[stop]
    whole = train(make(name), 0, EPOCHS)
    before = train(make(name), 0, last, steps)
    assert before + continued[name, stop] == whole


@every_strategy
def test_saving_changes_nothing(name):
    sampler = make(name)
    picks = []
    for step, batch in enumerate(sampler.batches(N)):
        picks.append(batch)
        show(sampler, 0, torch.tensor(batch))
        if step % 5 == 0:
            sampler.state_dict()
    assert picks == [batch[:N] for batch in train(make(name), 0, 1)]


class Mappings(Dataset):
    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"x": 10 * index, "y": int(TARGET[index])}


def loader_picks(name: str, data: Dataset, batched: bool, **options) -> list[list[int]]:
    """The mini-batches of four epochs, as a loader gives them."""
    # One block per epoch, so that it does not matter how far workers ask ahead.
    sampler = make(name, block=SIZE)
    if batched:
        loader = DataLoader(data, batch_sampler=sampler.batches(N), **options)
    else:
        loader = DataLoader(data, batch_size=N, drop_last=True, sampler=sampler, **options)
    picks = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        assert len(loader) == len(sampler) // N
        for batch in loader:
            x, y, index = batch.values() if isinstance(batch, dict) else batch
            assert torch.equal(x, 10 * index)
            assert torch.equal(y, TARGET[index])
            picks.append(index.tolist())
            show(sampler, epoch, index)
    return picks


@every_strategy
@pytest.mark.parametrize("batched", [False, True], ids=["sampler", "batch_sampler"])
def test_loaders_give_tuples_and_mappings(name, batched):
    tuples = WithIndex(TensorDataset(10 * torch.arange(SIZE), TARGET))
    expected = [batch[:N] for batch in train(make(name, block=SIZE), 0, 4)]
    assert loader_picks(name, tuples, batched) == expected
    assert loader_picks(name, WithIndex(Mappings()), batched) == expected


@every_strategy
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_change_nothing(name, persistent):
    data = WithIndex(TensorDataset(10 * torch.arange(SIZE), TARGET))
    options = {"num_workers": 2, "persistent_workers": persistent}
    found = loader_picks(name, data, batched=persistent, **options)
    assert found == loader_picks(name, data, batched=persistent)


@every_learner
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"index": torch.tensor([0, SIZE])}, IndexError, f"{SIZE}"),
        ({"index": torch.tensor([0, -1])}, IndexError, "-1"),
        ({"index": torch.tensor([0.0, 1.0])}, TypeError, "index"),
        ({"index": [0, 1]}, TypeError, "index"),
        ({"index": torch.arange(3)}, ValueError, r"\[3"),
        ({"logits": None, "target": None, "losses": None}, ValueError, "None"),
        (
            {
                "logits": torch.full((2, CLASSES), torch.nan),
                "losses": torch.full((2,), torch.nan),
            },
            ValueError,
            "nan|NaN",
        ),
    ],
    ids=["too large", "negative", "floats", "a list", "too many", "nothing", "nan"],
)
def test_a_bad_update_is_named_and_changes_nothing(name, change, error, message):
    sampler = make(name)
    show(sampler, 0, torch.arange(SIZE))
    before = learned(sampler)
    index = torch.arange(2)
    arguments = {"index": index, "logits": logits_of(0, index), "target": TARGET[index]}
    with pytest.raises(error, match=message):
        sampler.update(**arguments | {"losses": torch.ones(2)} | change)
    assert_same_state(learned(sampler), before)


@every_strategy
def test_bad_arguments_are_named(name):
    factory = strategies.get(name)
    for size, error in ((0, ValueError), (2.5, TypeError), (None, TypeError)):
        with pytest.raises(error, match=f"size is {size}, expected"):
            factory(size, epochs=EPOCHS, classes=CLASSES)
    with pytest.raises(TypeError, match=r"seed is 1\.5, expected an integer or None"):
        factory(SIZE, epochs=EPOCHS, classes=CLASSES, seed=1.5)
    if name != UNTAUGHT:
        with pytest.raises(ValueError, match="on_fault is 'ignore', expected one of 'raise', 'sk"):
            factory(SIZE, epochs=EPOCHS, classes=CLASSES, on_fault="ignore")
    sampler = make(name)
    with pytest.raises(IndexError, match=f"{SIZE}"):
        sampler.weight(torch.tensor([SIZE]))
    others = [other for other in NAMES if other != name]
    for other in others:
        with pytest.raises(ValueError, match="the state's sampler is"):
            sampler.load_state_dict(make(other).state_dict())


@every_strategy
def test_arguments_are_stored_unchanged(name):
    sampler = make(name, seed=None)
    stored = {"size": SIZE, "seed": None, "epochs": EPOCHS, "classes": CLASSES, **SHORT}
    for parameter in inspect.signature(type(sampler)).parameters:
        value = getattr(sampler, parameter)
        factory = inspect.signature(strategies.get(name).make).parameters
        assert value == stored.get(parameter, factory[parameter].default)


@every_strategy
def test_the_docstring_has_an_equation_and_the_paper_its_entry(name):
    strategy = strategies.get(name)
    assert "Args:" in strategy.description
    assert strategy.citation().startswith("@") or name == "random-pruning"
