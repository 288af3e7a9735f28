"""What a mini-batch can do besides its mean: micro-batches, other devices, taking it apart."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast import MiniBatch, Selector, StartRule, strategies
from tests.toy import C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")


class Hears(StartRule):
    """Remembers the losses."""

    learns_from = "loss"

    def __init__(self) -> None:
        self.losses: list[float] = []

    def decide(self, step: int, K: int, n: int) -> bool:
        return True

    def learn(self, value: Tensor) -> None:
        assert not value.requires_grad
        self.losses.append(float(value))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


class Named(nn.Linear):
    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Named(5, C)


def large_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "rows": torch.randn(K, 5, generator=generator),
        "labels": torch.randint(C, (K,), generator=generator),
    }


def make_batch(model: nn.Module, start: StartRule | None = None) -> MiniBatch:
    return Selector(model, N, target="labels", start=start, seed=1)(large_batch())


def losses_of(model: nn.Module, batch: MiniBatch) -> Tensor:
    return F.cross_entropy(model(**batch.x), batch.y, reduction="none")


def gradient(model: nn.Module) -> Tensor:
    assert model.weight.grad is not None
    found, model.weight.grad = model.weight.grad, None
    return found


@pytest.mark.parametrize("n", [1, 5, N, N + 1])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_micro_batches_accumulate_the_gradient_of_the_whole(model, n, reduction):
    batch = make_batch(model)
    batch.mean(losses_of(model, batch)).backward()
    expected = gradient(model)
    micros = batch.split(n, reduction)
    divisor = len(micros) if reduction == "mean" else 1
    for micro in micros:
        (micro.mean(losses_of(model, micro)) / divisor).backward()
    torch.testing.assert_close(gradient(model), expected)
    assert [len(micro.index) for micro in micros[:-1]] == [n] * (len(micros) - 1)
    for name in ("index", "weight", "y"):
        parts = torch.cat([getattr(micro, name) for micro in micros])
        assert torch.equal(parts, getattr(batch, name))
    for key, part in batch.inputs.items():
        assert torch.equal(torch.cat([micro.inputs[key] for micro in micros]), part)


def test_micro_batches_of_micro_batches_add_up_too(model):
    batch = make_batch(model)
    whole = batch.mean(losses_of(model, batch))
    parts = sum(
        part.mean(losses_of(model, part)) for micro in batch.split(6) for part in micro.split(4)
    )
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_rule_hears_the_whole_once(model, reduction):
    rule = Hears()
    batch = make_batch(model, rule)
    expected = batch.mean(losses_of(model, batch)).item()
    assert rule.losses == [expected]
    rule.losses.clear()
    micros = make_batch(model, rule).split(6, reduction)
    for micro in reversed(micros):
        assert rule.losses == []
        micro.mean(losses_of(model, micro))
        micro.mean(losses_of(model, micro))
    assert rule.losses == pytest.approx([expected])


def test_a_strategy_hears_the_losses_of_all_rows(model):
    batch = strategies.make("autoassist", model, N, base=1.0, target="labels")(large_batch())
    heard: list[Tensor] = []
    batch._learner = heard.append
    losses = torch.arange(float(N))
    for micro, part in zip(batch.split(7), losses.split(7), strict=True):
        micro.mean(part)
    assert torch.equal(torch.stack(heard), losses[None])


def test_losses_of_micro_batches_elsewhere_are_heard(model):
    batch = make_batch(model).to("meta")
    heard: list[Tensor] = []
    batch._learner = heard.append
    for micro in batch.split(6):
        micro.weight = torch.ones(len(micro.weight))
        micro.mean(torch.ones(len(micro.weight)))
    (losses,) = heard
    assert losses.shape == (N,) and losses.device == batch.weight.device


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_rank_without_rows_has_one_micro_batch(reduction):
    none = torch.zeros(0, requires_grad=True)
    batch = MiniBatch(none, torch.zeros(0).long(), none.detach(), torch.zeros(0).long(), True)
    batch._rows = 2.0
    (micro,) = batch.split(4, reduction)
    micro.mean(micro.x).backward()
    assert none.grad is not None


def test_a_mini_batch_moves_to_a_device(model):
    batch = make_batch(model, Hears())
    there = batch.to("meta", non_blocking=True)
    assert {part.device.type for part in (*there.inputs.values(), *list(there)[1:])} == {"meta"}
    assert there.x["rows"] is there.inputs["rows"]
    assert there.importance and there._listener is batch._listener
    here = batch.to("cpu")
    assert here.y is batch.y and here.x["rows"] is batch.x["rows"]


def test_a_mini_batch_is_taken_apart(model):
    batch = make_batch(model)
    x, y, weight, index = batch
    assert x is batch.x
    assert (y is batch.y) and (weight is batch.weight) and (index is batch.index)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "n is 0, expected at least 1"),
        ((1.5,), TypeError, "n is 1.5, expected an integer"),
        ((4, "none"), ValueError, "reduction is 'none', expected one of"),
    ],
)
def test_a_wrong_split_is_named(model, arguments, error, message):
    with pytest.raises(error, match=message):
        make_batch(model).split(*arguments)
