"""When an epoch begins, goes on and ends, in the orders in which loaders and trainers ask.

A training by hand names the epoch and then makes an iterator; Lightning does it the other way
about; pytorch-ignite keeps an iterator that has handed out everything.
"""

import copy
import io

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from impsamp_fast import InfoBatch, strategies
from impsamp_fast.dataset import DatasetSampler, WithIndex
from tests.dataset.dataset_run import SIZE, TARGET, N, make, show, train

every_strategy = pytest.mark.parametrize("name", strategies.names("dataset"))
either_argument = pytest.mark.parametrize("argument", ["sampler", "batch_sampler"])
EPOCHS_RUN = 3


def loader_of(sampler, argument="sampler", loader=DataLoader, **options):
    data = WithIndex(TensorDataset(TARGET))
    if argument == "sampler":
        return loader(data, batch_size=N, drop_last=True, sampler=sampler, **options)
    return loader(data, batch_sampler=sampler.batches(N), **options)


def run(sampler, epoch, batches):
    """Trains on the mini-batches and returns their samples."""
    seen = []
    for _, index in batches:
        show(sampler, epoch, index)
        seen.append(index.tolist())
    return seen


def by_hand(sampler, argument="sampler", epochs=EPOCHS_RUN):
    loader, seen = loader_of(sampler, argument), []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        seen.append(run(sampler, epoch, loader))
    return seen


@every_strategy
@either_argument
def test_naming_the_epoch_under_way_changes_nothing(name, argument):
    sampler, seen = make(name), []
    loader = loader_of(sampler, argument)
    for epoch in range(EPOCHS_RUN):
        batches = iter(loader)
        first = next(batches)
        sampler.set_epoch(epoch)
        seen.append(run(sampler, epoch, [first]))
        sampler.set_epoch(epoch)
        seen[-1] += run(sampler, epoch, batches)
    assert seen == by_hand(make(name))


@either_argument
@pytest.mark.parametrize("persistent", [False, True])
def test_nor_does_it_where_workers_have_asked_ahead(argument, persistent):
    sampler, plain = (InfoBatch(SIZE, 4, seed=0) for _ in range(2))
    loader = loader_of(sampler, argument, num_workers=1, persistent_workers=persistent)
    for epoch in range(2):
        batches = iter(loader)
        sampler.set_epoch(epoch)
        seen = torch.cat([index for _, index in batches])
        sampler.update(seen, losses=(seen % 7).float())
        plain.set_epoch(epoch)
        expected = torch.cat([index for _, index in loader_of(plain)])
        plain.update(expected, losses=(expected % 7).float())
        assert torch.equal(seen, expected)


@either_argument
def test_nor_where_they_have_asked_for_all_of_it(argument):
    sampler = InfoBatch(2 * N, 4, seed=0)
    options = {"num_workers": 2, "prefetch_factor": 2}
    data = WithIndex(TensorDataset(torch.zeros(2 * N)))
    batching = {"batch_size": N, "sampler": sampler}
    if argument == "batch_sampler":
        batching = {"batch_sampler": sampler.batches(N)}
    loader = DataLoader(data, **batching, **options)
    for epoch in range(3):
        batches = iter(loader)
        sampler.set_epoch(epoch)
        for _, index in batches:
            sampler.update(index, losses=torch.ones(N))
        assert sampler.state_dict()["epoch"] == epoch


@every_strategy
def test_an_epoch_that_ended_is_run_again_when_it_is_named_again(name):
    sampler = make(name)
    train(sampler, 0, 2)
    sampler.set_epoch(1)
    list(sampler)
    assert sampler.state_dict()["epoch"] == 1


@every_strategy
def test_an_epoch_that_was_broken_off_is_run_again_when_it_is_named_again(name):
    sampler = make(name)
    train(sampler, 0, 2, steps=3)
    sampler.set_epoch(1)
    assert len(list(sampler)) >= 10
    assert sampler.state_dict()["epoch"] == 1


@every_strategy
def test_an_epoch_that_was_broken_off_after_training_is_over(name):
    sampler = make(name)
    for batch in sampler.batches(N):
        show(sampler, 0, torch.tensor(batch))
        break
    list(sampler)
    assert sampler.state_dict()["epoch"] == 1


@every_strategy
@pytest.mark.parametrize("change", ["set_epoch", "load_state_dict", "another pass"])
def test_a_pass_that_handed_out_everything_ends_whatever_came_since(name, change):
    sampler = make(name)
    state = copy.deepcopy(sampler.state_dict())
    picks = iter(sampler)
    seen = [next(picks) for _ in range(len(sampler))]
    show(sampler, 0, torch.tensor(seen))
    if change == "set_epoch":
        sampler.set_epoch(3)
    elif change == "load_state_dict":
        sampler.load_state_dict(state)
    else:
        next(iter(sampler))
    assert next(picks, None) is None


@either_argument
def test_so_does_a_loader_over_it(argument):
    sampler = InfoBatch(10 * N, 4, seed=0)
    data = WithIndex(TensorDataset(torch.zeros(10 * N)))
    batching = {"batch_size": N, "sampler": sampler}
    if argument == "batch_sampler":
        batching = {"batch_sampler": sampler.batches(N)}
    loader = DataLoader(data, **batching)
    batches = iter(loader)
    for _ in range(len(loader)):
        next(batches)
    sampler.set_epoch(1)
    assert next(batches, None) is None


@either_argument
def test_a_loader_that_kept_less_than_a_mini_batch_ends_in_the_next_epoch(argument):
    sampler = InfoBatch(10 * N + 1, 4, seed=0)
    data = WithIndex(TensorDataset(torch.zeros(10 * N + 1)))
    batching = {"batch_size": N, "sampler": sampler, "drop_last": True}
    if argument == "batch_sampler":
        batching = {"batch_sampler": sampler.batches(N)}
    loader = DataLoader(data, **batching)
    batches = iter(())
    for epoch in range(3):  # as pytorch-ignite does: an iterator is renewed when it is found empty
        sampler.set_epoch(epoch)
        assert next(batches, None) is None
        batches = iter(loader)
        for _ in range(len(loader)):
            _, index = next(batches)
            sampler.update(index, losses=torch.ones(N))
        assert sampler.state_dict()["epoch"] == epoch


@every_strategy
def test_a_pass_goes_on_when_another_epoch_is_named(name):
    sampler = make(name, block=SIZE)
    expected = list(make(name, block=SIZE))
    picks = iter(sampler)
    seen = [next(picks) for _ in range(N)]
    show(sampler, 0, torch.tensor(seen))
    sampler.set_epoch(3)
    seen.append(next(picks))
    assert sampler.state_dict()["position"] == N + 1
    assert len(sampler) == len(expected)
    assert seen + list(picks) == expected
    list(sampler)
    assert sampler.state_dict()["epoch"] == 3


@every_strategy
def test_a_state_is_of_the_epoch_that_was_named_last(name):
    sampler, resumed = make(name), make(name)
    train(sampler, 0, 1, steps=4)
    sampler.set_epoch(2)
    state = sampler.state_dict()
    assert (state["epoch"], state["position"], state["drawn"]) == (2, 0, None)
    with pytest.raises(ValueError, match="position is 1, but only 0 indices"):
        sampler.state_dict(position=1)
    resumed.load_state_dict(state)
    assert list(resumed) == list(sampler)


def test_a_pass_in_the_middle_does_not_mix_with_another():
    sampler = InfoBatch(SIZE, 4, seed=0)
    picks = iter(sampler)
    next(picks)
    next(iter(sampler))
    with pytest.raises(RuntimeError, match="one pass at a time"):
        next(picks)


@every_strategy
def test_the_length_is_that_of_the_epoch_that_is_named_again(name):
    sampler = make(name)
    train(sampler, 0, 3)
    sampler.set_epoch(2)
    length = len(sampler)
    assert len(list(sampler)) == length
    if name == "epoch-accuracy":
        sampler.set_epoch(2)
        assert len(sampler) == SIZE  # every second epoch is of all samples
        sampler.set_epoch(3)
        assert len(sampler) < SIZE


def test_a_step_counts_for_a_pass_that_handed_out_something():
    sampler = InfoBatch(SIZE, 4, seed=0)
    sampler.update(torch.arange(SIZE), losses=torch.ones(SIZE))  # before training, of all samples
    picks = iter(sampler)
    first = [next(picks) for _ in range(N)]
    state = sampler.state_dict()
    resumed = InfoBatch(SIZE, 4, seed=0)
    resumed.load_state_dict(state)
    resumed.update(torch.arange(SIZE), losses=torch.ones(SIZE))
    assert first + list(resumed) == first + list(picks)
    assert resumed.state_dict()["epoch"] == 0


def test_an_update_of_a_class_s_own_says_that_it_trains():
    class Counting(DatasetSampler):
        def length(self, epoch):
            return 6

        def draw_block(self, epoch, wanted, seed):
            return torch.arange(wanted)

        def update(self, index, logits=None, target=None, *, losses=None):
            if logits is not None:
                self.note_training()

    sampler = Counting(6, seed=0)
    for logits, epoch in ((None, 0), (torch.zeros(1, 2), 0), (None, 1)):
        index = next(iter(sampler))
        assert sampler.state_dict()["epoch"] == epoch
        sampler.update(torch.tensor([index]), logits)


def test_a_position_before_the_one_that_was_loaded_is_not_known():
    sampler, resumed = (InfoBatch(SIZE, 4, seed=0) for _ in range(2))
    picks = iter(sampler)
    for _ in range(10):
        next(picks)
    resumed.load_state_dict(sampler.state_dict())
    next(iter(resumed))
    assert resumed.state_dict(position=10)["position"] == 10
    with pytest.raises(ValueError, match=r"position is 9, but the state .* went on at 10"):
        resumed.state_dict(position=9)


@pytest.mark.parametrize(
    ("name", "workers"),
    [*((name, 0) for name in strategies.names("dataset")), ("early-importance", 1)],
)
@either_argument
def test_a_look_at_one_mini_batch_does_not_use_up_the_epoch(name, workers, argument):
    sampler = make(name)
    loader = loader_of(sampler, argument, num_workers=workers)
    _, looked_at = next(iter(loader))
    seen = [run(sampler, epoch, loader) for epoch in range(EPOCHS_RUN)]
    assert seen == by_hand(make(name))
    assert seen[0][0] == looked_at.tolist()


@every_strategy
def test_a_look_behind_a_loaded_state_does_not_skip_what_was_looked_at(name):
    whole = make(name)
    expected = train(whole, 0, 2)
    stopped, resumed = make(name), make(name)
    before = train(stopped, 0, 2, steps=4)
    resumed.load_state_dict(stopped.state_dict())
    next(iter(resumed.batches(N)))
    assert before + train(resumed, 1, 2) == expected


@pytest.fixture
def stateful_loader():
    """torchdata's; a machine that runs the GPU suite may be without it."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader


@either_argument
@pytest.mark.parametrize("own_state", [False, True])
@pytest.mark.parametrize(("workers", "every"), [(0, 1), (2, 1), (2, 2)])
def test_a_stateful_loader_resumes_exactly(stateful_loader, argument, own_state, workers, every):
    def made():
        sampler = InfoBatch(SIZE, 4, seed=0)
        options = {"num_workers": workers, "snapshot_every_n_steps": every}
        return sampler, loader_of(sampler, argument, stateful_loader, **options)

    def go_on(sampler, loader, stop=None):
        seen = []
        for step, (_, index) in enumerate(loader):
            seen.append(index.tolist())
            sampler.update(index, losses=(index % 5).float())
            if step + 1 == stop:
                break
        return seen

    whole, loader = made()
    expected = [go_on(whole, loader), go_on(whole, loader)]
    stopped, loader = made()
    before = go_on(stopped, loader, stop=3)
    saved = io.BytesIO()
    torch.save({"loader": loader.state_dict(), "sampler": stopped.state_dict()}, saved)
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    resumed, loader = made()
    if own_state:
        resumed.load_state_dict(state["sampler"])
    loader.load_state_dict(state["loader"])
    assert [before + go_on(resumed, loader), go_on(resumed, loader)] == expected
    torch.testing.assert_close(resumed.memory.loss, whole.memory.loss, equal_nan=True)


@either_argument
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stateful_loader_that_ended_goes_on_with_the_next_epoch(
    stateful_loader, argument, workers
):
    def made():
        sampler = make("online-batch", warm_up=9)
        return loader_of(sampler, argument, stateful_loader, num_workers=workers)

    def epoch(loader):
        return [index.tolist() for _, index in loader]

    loader, resumed = made(), made()
    epoch(loader)
    resumed.load_state_dict(loader.state_dict())
    assert [epoch(resumed), epoch(resumed)] == [epoch(loader), epoch(loader)]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_state_of_a_loader_is_made_when_it_is_saved(stateful_loader, workers):
    sampler = InfoBatch(SIZE, 4, seed=0)
    loader = loader_of(sampler, "batch_sampler", stateful_loader, num_workers=workers)
    batches = iter(loader)
    states = [loader.state_dict()]
    for _, index in batches:
        sampler.update(index, losses=torch.ones(N))
        states.append(loader.state_dict())
    for step, state in enumerate(states):
        resumed = InfoBatch(SIZE, 4, seed=0)
        stateful = loader_of(resumed, "batch_sampler", stateful_loader, num_workers=workers)
        stateful.load_state_dict(copy.deepcopy(state))
        rest = sum(1 for _ in stateful)
        assert rest == len(states) - 1 - step or step == len(states) - 1
        assert torch.equal(resumed.memory.seen, sampler.memory.seen)
    next(iter(loader))
    with pytest.raises(RuntimeError, match="of epoch 0, which is over"):
        copy.deepcopy(states[1])
