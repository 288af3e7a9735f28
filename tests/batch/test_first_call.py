"""What cannot be scored is found out in the first call, however long the uniform steps last."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from impsamp_fast.batch.accumulator import Accumulator
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.selective_backprop import SelectiveBackprop
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After
from tests.batch.test_scoring import Regularised, everything_of
from tests.toy import C, K, N

MAKE: dict[str, Any] = {
    "selector": Selector,
    "accumulator": lambda model, n, **options: Accumulator(model, n, AccuracyFilter(), **options),
    "selective backprop": SelectiveBackprop,
}
every_strategy = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


class Returns(nn.Module):
    """A model that returns what is made of its logits."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change
        self.linear = nn.Linear(5, C)

    def forward(self, x: Tensor) -> Any:
        return self.change(self.linear(x))


WRONG = {
    "a dict": (lambda logits: {"scores": logits}, TypeError, "the model returned dict"),
    "a sequence": (lambda logits: logits.unsqueeze(1), ValueError, r"expected \[\d+, C\]"),
    "integers": (lambda logits: logits.long(), TypeError, "logits has dtype Long"),
}


@every_strategy
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_model_that_cannot_be_scored(make: Any, wrong: Any, data: tuple[Tensor, Tensor]) -> None:
    change, error, message = wrong
    strategy = make(Returns(change), N, start=After(10**9), seed=0)
    before = str(strategy.state_dict())
    for _ in range(2):
        with pytest.raises(error, match=message):
            strategy(*data)
    assert str(strategy.state_dict()) == before


@every_strategy
def test_targets_of_a_dtype_or_shape_that_cannot_be(
    make: Any, model: nn.Module, data: tuple[Tensor, Tensor]
) -> None:
    x, y = data
    strategy = make(model, N, start=After(10**9))
    strategy(x, y)
    for wrong, error in ((y.to(torch.bool), TypeError), (y.reshape(K, 1, 1), ValueError)):
        with pytest.raises(error, match="target has"):
            strategy(x, wrong)
    strategy(x, y)


@every_strategy
def test_probabilities_of_other_classes(
    make: Any, model: nn.Module, data: tuple[Tensor, Tensor]
) -> None:
    x, _ = data
    with pytest.raises(ValueError, match="target has shape"):
        make(model, N, start=After(10**9))(x, torch.rand(K, C + 1).softmax(-1))


def test_a_layer_that_is_not_the_last(model: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    scaled = nn.Sequential(model, nn.LogSoftmax(-1))
    with pytest.raises(ValueError, match="does not return the output of its last"):
        Selector(scaled, N, score="last_layer", start=After(10**9))(*data)


@every_strategy
@pytest.mark.parametrize("dropout", [False, True])
def test_it_leaves_no_trace(make: Any, dropout: bool, data: tuple[Tensor, Tensor]) -> None:
    model = Regularised()
    strategy = make(model, N, dropout=dropout, start=After(10**9), seed=0)
    before = everything_of(model)
    for _ in range(3):
        strategy(*data)
    assert everything_of(model) == before
    assert len(model.saw_dropout) == 1


@every_strategy
def test_values_are_not_looked_at(make: Any, model: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    strategy = make(model, N, start=After(10**9))
    strategy(x * torch.nan, torch.full_like(y, -100))


@every_strategy
def test_a_model_that_takes_no_single_row(make: Any, data: tuple[Tensor, Tensor]) -> None:
    squeezing = Returns(torch.squeeze)
    make(squeezing, N, start=After(10**9))(*data)


def test_a_score_function_has_targets_of_its_own(
    model: nn.Module, data: tuple[Tensor, Tensor]
) -> None:
    x, _ = data
    selector = Selector(model, N, score=lambda logits, y: (logits[:, 0] - y).square())
    selector(x, torch.rand(K))
