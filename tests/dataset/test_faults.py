"""A faulty row is told by every part that looks at it, at once on the CPU and later elsewhere.

Or it is skipped, where that is asked for.
"""

from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from impsamp_fast import strategies
from impsamp_fast.dataset.sample_memory import SampleMemory
from tests.dataset.dataset_run import CLASSES, SIZE, TARGET, UNTAUGHT, logits_of, make
from tests.dataset.memories import assert_same_state, learned, snapshot
from tests.elsewhere import Elsewhere

# Of row 3; each with what the parts see that do not look at the target.
FAULTS = {
    "NaN": lambda logits, target: logits[3].fill_(torch.nan),
    "infinite": lambda logits, target: logits[3, 1:].fill_(torch.inf),
    "-inf in every class": lambda logits, target: logits[3].fill_(-torch.inf),
    "no class": lambda logits, target: target[3:4].fill_(CLASSES),
}

every_sampler = pytest.mark.parametrize(
    ("name", "fault"),
    # What learns from labels alone does not look at the target.
    [
        pair
        for pair in product(strategies.names("dataset"), FAULTS)
        if pair != ("recency-bias", "no class") and pair[0] != UNTAUGHT
    ],
)

TRACKS: list[tuple[str, ...]] = [("loss",), ("p_true",), ("labels",), ("loss", "p_true", "labels")]


def every_memory(test: Callable[..., None]) -> Callable[..., None]:
    given = pytest.mark.parametrize("losses_are_given", [False, True])
    tracks = pytest.mark.parametrize(
        ("track", "fault"),
        [pair for pair in product(TRACKS, FAULTS) if pair != (("labels",), "no class")],
        ids=lambda value: value if isinstance(value, str) else "+".join(value),
    )
    return given(tracks(test))


Step = dict[str, Tensor]
Move = Callable[[Tensor], Tensor]

AWAY = ["accelerator", pytest.param("cuda", marks=pytest.mark.cuda)]
away = pytest.mark.parametrize("move", AWAY, indirect=True)


@pytest.fixture(params=["CPU", *AWAY])
def move(request: pytest.FixtureRequest) -> Move:
    """Copies a tensor to a device."""
    if request.param == "cuda":
        cuda = request.getfixturevalue("cuda")
        return lambda tensor: tensor.to(cuda)
    return {"CPU": torch.clone, "accelerator": Elsewhere}[request.param]


def step(number: int, fault: str | None = None) -> Step:
    """The arguments of an update, always of the same samples; its row 3 is faulty."""
    index = torch.arange(8)
    logits, target = logits_of(number, index), TARGET[index]
    losses = F.cross_entropy(logits, target, reduction="none")
    if fault is not None:
        FAULTS[fault](logits, target)
        losses[3] = torch.nan
    return {"index": index, "logits": logits, "target": target, "losses": losses}


def moved(move: Move, arguments: Step) -> Step:
    return {name: move(value) for name, value in arguments.items()}


def without_row_3(arguments: Step) -> Step:
    return {name: value[torch.arange(8) != 3] for name, value in arguments.items()}


def assert_close(found: Step, expected: Step) -> None:
    """The same but for what a GPU adds up in another order."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


@every_sampler
def test_samplers_leave_out_a_step_with_a_faulty_row(name: str, fault: str) -> None:
    here, elsewhere, expected = make(name), make(name), make(name)
    for number in (0, 2):
        expected.update(**step(number))
    for number in range(3):
        wrong = fault if number == 1 else None
        elsewhere.update(**moved(Elsewhere, step(number, wrong)))
        if wrong is None:
            here.update(**step(number))
            continue
        with pytest.raises((ValueError, IndexError)):
            here.update(**step(number, wrong))
    with pytest.raises(ValueError, match=r"^in update 1: "):
        elsewhere.state_dict()
    for sampler in (here, elsewhere):
        assert_same_state(learned(sampler), learned(expected))


@every_sampler
def test_samplers_skip_a_faulty_row_alone(name: str, fault: str, move: Move) -> None:
    sampler, expected = make(name, on_fault="skip"), make(name)
    for number in range(3):
        wrong = fault if number == 1 else None
        sampler.update(**moved(move, step(number, wrong)))
        expected.update(**(step(number) if wrong is None else without_row_3(step(number))))
    assert sampler.faulty_rows == 1
    assert_close(learned(sampler), learned(expected))
    resumed = make(name, on_fault="skip")
    resumed.load_state_dict(sampler.state_dict())
    resumed.update(**moved(move, step(3, fault)))
    assert resumed.faulty_rows == 2
    sampler.update(**moved(move, step(3, fault)))
    assert list(resumed) == list(sampler)


@away
@every_memory
def test_memories_leave_out_a_step_with_a_faulty_row(
    track: tuple[str, ...], losses_are_given: bool, fault: str, move: Move
) -> None:
    memory, expected = memories(track)
    for number in range(3):
        arguments = step(number, fault if number == 1 else None)
        if not losses_are_given:
            del arguments["losses"]
        memory.update(**moved(move, arguments))
        if number != 1:
            expected.update(**arguments)
    with pytest.raises(ValueError, match=r"^in update 1: "):
        memory.state_dict()
    assert_close(snapshot(memory), snapshot(expected))


@every_memory
def test_memories_skip_a_faulty_row_alone(
    track: tuple[str, ...], losses_are_given: bool, fault: str, move: Move
) -> None:
    memory, expected = memories(track, on_fault="skip")
    for number in range(3):
        arguments = step(number, fault if number == 1 else None)
        if not losses_are_given:
            del arguments["losses"]
        memory.update(**moved(move, arguments))
        expected.update(**(without_row_3(arguments) if number == 1 else arguments))
    state = memory.state_dict()
    assert state["faulty_rows"] == memory.faulty_rows == 1
    assert type(state["faulty_rows"]) is int
    assert_close(snapshot(memory), snapshot(expected))
    expected.load_state_dict(state)
    assert expected.faulty_rows == 1


def memories(track: tuple[str, ...], **options: str) -> list[SampleMemory]:
    classes = CLASSES if "labels" in track else None
    return [SampleMemory(SIZE, track=track, classes=classes, **options) for _ in range(2)]


def test_of_a_faulty_row_nothing_is_remembered(move: Move) -> None:
    """Neither what is right with it."""
    memory = SampleMemory(SIZE, track=("loss", "p_true"), on_fault="skip")
    memory.update(**moved(move, step(0, "NaN") | {"losses": torch.ones(8)}))
    memory.update(**moved(move, step(0) | {"losses": torch.ones(8).double() * 1e300}))
    assert memory.seen[:8].tolist() == [1, 1, 1, 0, 1, 1, 1, 1]
    assert memory.loss[3].isnan()
    assert memory.faulty_rows == 1 + 8


def test_labels_alone_say_which_row_has_none() -> None:
    memory = SampleMemory(SIZE, track=("labels",), classes=CLASSES)
    memory.update(**moved(Elsewhere, step(0, "NaN")))
    with pytest.raises(ValueError, match=r"logits\[3\] has a NaN .* so no label is predicted"):
        memory.labels  # noqa: B018
