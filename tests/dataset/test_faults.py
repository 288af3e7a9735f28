"""A faulty row is told by every part that looks at it: at once on the CPU, later elsewhere."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from impsamp_fast import strategies
from impsamp_fast.dataset.sample_memory import SampleMemory
from tests.dataset.dataset_run import CLASSES, SIZE, TARGET, logits_of, make
from tests.elsewhere import Elsewhere

NAMES = strategies.names("dataset")

# Of row 3; each with what the parts see that do not look at the target.
FAULTS = {
    "NaN": lambda logits, target: logits[3].fill_(torch.nan),
    "infinite": lambda logits, target: logits[3, 1:].fill_(torch.inf),
    "-inf in every class": lambda logits, target: logits[3].fill_(-torch.inf),
    "no class": lambda logits, target: target[3:4].fill_(CLASSES),
}


def step(number: int, fault: str | None = None) -> dict[str, Tensor]:
    """The arguments of an update; its row 3 is faulty."""
    index = torch.arange(8) + 8 * number
    logits, target = logits_of(0, index).clone(), TARGET[index].clone()
    losses = F.cross_entropy(logits, target, reduction="none")
    if fault is not None:
        FAULTS[fault](logits, target)
        losses[3] = torch.nan
    return {"index": index, "logits": logits, "target": target, "losses": losses}


def there(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: Elsewhere(value) for name, value in arguments.items()}


def flat(state: dict[str, Any]) -> list[Tensor]:
    """All that a sampler or a memory has learned."""
    tensors = [*(state["memory"] or {}).values(), *state["tables"].values()]
    return [tensor.nan_to_num(-1) for tensor in tensors]


@pytest.mark.parametrize(
    ("name", "fault"),
    # What learns from labels alone does not look at the target.
    [pair for pair in product(NAMES, FAULTS) if pair != ("recency-bias", "no class")],
)
def test_samplers_leave_out_a_step_with_a_faulty_row(name: str, fault: str) -> None:
    here, elsewhere, expected = make(name), make(name), make(name)
    for number in (0, 2):
        expected.update(**step(number))
    for number in range(3):
        wrong = fault if number == 1 else None
        elsewhere.update(**there(step(number, wrong)))
        if wrong is None:
            here.update(**step(number))
            continue
        with pytest.raises((ValueError, IndexError)):
            here.update(**step(number, wrong))
    with pytest.raises(ValueError, match=r"^in update 1: "):
        elsewhere.state_dict()
    for sampler in (here, elsewhere):
        pairs = zip(flat(sampler.state_dict()), flat(expected.state_dict()), strict=True)
        assert all(torch.equal(found, wanted) for found, wanted in pairs)


TRACKS: list[tuple[str, ...]] = [("loss",), ("p_true",), ("labels",), ("loss", "p_true", "labels")]


@pytest.mark.parametrize("losses_are_given", [False, True])
@pytest.mark.parametrize(
    ("track", "fault"),
    [pair for pair in product(TRACKS, FAULTS) if pair != (("labels",), "no class")],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_memories_leave_out_a_step_with_a_faulty_row(
    track: tuple[str, ...], losses_are_given: bool, fault: str
) -> None:
    classes = CLASSES if "labels" in track else None
    memory, expected = (SampleMemory(SIZE, track=track, classes=classes) for _ in range(2))
    for number in range(3):
        arguments = step(number, fault if number == 1 else None)
        if not losses_are_given:
            del arguments["losses"]
        memory.update(**there(arguments))
        if number != 1:
            expected.update(**arguments)
    with pytest.raises(ValueError, match=r"^in update 1: "):
        memory.state_dict()
    for name, value in expected.state_dict().items():
        assert torch.equal(memory.state_dict()[name].nan_to_num(-1), value.nan_to_num(-1)), name


def test_labels_alone_say_which_row_has_none() -> None:
    memory = SampleMemory(SIZE, track=("labels",), classes=CLASSES)
    memory.update(**there(step(0, "NaN")))
    with pytest.raises(ValueError, match=r"logits\[3\] has a NaN .* so no label is predicted"):
        memory.labels  # noqa: B018
