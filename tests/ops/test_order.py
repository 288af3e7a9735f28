"""Draws by an order from many rows: a sample bounds which of them are looked at more closely."""

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests import reference

ROWS = 40_000  # more than one block of rows; a sample pays from a tenth of it


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def uniform() -> Tensor:
    return torch.rand(ROWS, generator=generator())


def sampled_rows(rows: int) -> Tensor:
    """Those that csrc/cpu/order.h samples: multiples of the golden ratio."""
    sampled = min(rows // 16, 2048)
    return torch.tensor([(i * 0x9E3779B97F4A7C15 % 2**64) * rows >> 64 for i in range(sampled)])


def scaled_where_sampled(factor: float) -> Tensor:
    weights = uniform()
    weights[sampled_rows(ROWS)] *= factor
    return weights


def nearly_all_zero() -> Tensor:
    weights = torch.zeros(ROWS)
    weights[::777] = 1 + torch.rand(len(weights[::777]), generator=generator())
    return weights


def one_huge() -> Tensor:
    weights = uniform()
    weights[ROWS // 3] = 3e38
    return weights


WEIGHTS: dict[str, Tensor] = {
    "uniform": uniform(),
    "equal": torch.ones(ROWS),
    "two values": 1 + (uniform() < 0.5).float(),
    "nearly all zero": nearly_all_zero(),
    "one huge": one_huge(),
    "subnormal": torch.randint(1, 100, (ROWS,), generator=generator()) * 2.0**-149,
    "ascending": torch.arange(1.0, ROWS + 1),
    "descending": torch.arange(ROWS, 0.0, -1),
    # A bound that lets too few through, and one that lets all through.
    "largest where sampled": scaled_where_sampled(1e6),
    "smallest where sampled": scaled_where_sampled(1e-6),
    "float64": torch.rand(ROWS, dtype=torch.float64, generator=generator()),
    "float64, two values": 1 + (uniform() < 0.5).double(),
}


def counts(weights: Tensor) -> list[int]:
    """Few, about where the sorts change, most, all but one and all."""
    positive = int(weights.count_nonzero())
    return sorted({min(n, positive) for n in (1, 256, 257, 1025, 5000, 39_000, ROWS - 1, ROWS)})


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_largest_weights(weights: Tensor) -> None:
    order = weights.argsort(descending=True, stable=True)
    for n in counts(weights):
        assert torch.equal(isf.draw(weights, n, "topk").index, order[:n]), n


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_a_longer_race_begins_with_a_shorter_one(weights: Tensor) -> None:
    """All at once, each row once; the longest is sorted without a bound."""
    *fewer, most = counts(weights)
    longest = isf.draw(weights, most, "race", seed=3)
    assert len(longest.index.unique()) == most
    for n in fewer:
        drawn = isf.draw(weights, n, "race", seed=3)
        assert torch.equal(drawn.index, longest.index[:n]), n
        # What the row after them decides, too.
        assert (drawn.prob > 0).all(), n
        assert (drawn.prob <= 1).all(), n


@pytest.mark.parametrize("name", ["uniform", "nearly all zero", "one huge", "float64"])
def test_a_race_is_that_of_the_reference(name: str) -> None:
    weights = WEIGHTS[name]
    for n in (40, 3000):
        n = min(n, int(weights.count_nonzero()))
        drawn = isf.draw(weights, n, "race", seed=5)
        truth = reference.draw(weights, n, "race", seed=5)
        assert torch.equal(drawn.index, truth.index)
        torch.testing.assert_close(drawn.prob.double(), truth.prob, rtol=4e-6, atol=0.0)


@pytest.mark.parametrize("rows", [4095, 4096, 4097, 16_384, 16_385, 32_768])
def test_about_where_samples_and_blocks_begin(rows: int) -> None:
    weights = torch.rand(rows, generator=generator()).mul(50).ceil()  # of many ties
    order = weights.argsort(descending=True, stable=True)
    for n in (1, 30, 300, rows // 2, rows - 1):
        assert torch.equal(isf.draw(weights, n, "topk").index, order[:n]), n


@pytest.mark.parametrize("method", ["race", "topk"])
def test_threads_find_the_same_rows(method: str) -> None:
    for weights in WEIGHTS.values():
        for n in (30, 5000):
            n = min(n, int(weights.count_nonzero()))
            found = []
            for threads in (1, 3):
                torch.set_num_threads(threads)
                found.append(isf.draw(weights, n, method, seed=1).index)
            assert torch.equal(*found)
