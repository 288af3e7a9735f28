"""A draw in stages finds the rows and probabilities of one draw, however its rows are parted."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from impsamp_fast.ops._stages import draw_in_parts
from tests.devices import assert_the_cpus_prob
from tests.methods import METHODS, WITHOUT_REPLACEMENT
from tests.ops.test_draw import SEEDS, WEIGHTS, largest_n

OPS = torch.ops.impsamp_fast
DTYPES = [torch.float32, torch.float64]


def heavy_tailed(rows: int, dtype: torch.dtype) -> Tensor:
    weights = torch.randn(rows, dtype=torch.float64).mul(3).exp()
    return weights.mul(torch.rand(rows) < 0.9).to(dtype)


def parted(weights: Tensor, count: int, seed: int) -> list[Tensor]:
    """Uneven parts, some of which may have no rows."""
    draw = random.Random(seed)
    ends = sorted(draw.choices(range(len(weights) + 1), k=count - 1))
    return list(weights.tensor_split(ends))


def assert_as_in_one(parts: list[Tensor], n: int, method: str, seed: int) -> None:
    whole = torch.cat(parts)
    n = largest_n(whole, method, n)
    found = draw_in_parts(parts, n, method, seed)
    expected = isf.draw(whole.cpu(), n, method, seed)
    assert found.prob.dtype == expected.prob.dtype
    assert torch.equal(found.index.cpu(), expected.index), (n, seed)
    assert_the_cpus_prob(found.prob, expected.prob, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_rows_of_one_draw(method: str, weights: Tensor, device: torch.device) -> None:
    weights = weights.to(device)
    for count, seed in enumerate(SEEDS[:5], start=1):
        for n in (1, 7, 300):
            assert_as_in_one(parted(weights, count, seed), n, method, seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_seeds(method: str, dtype: torch.dtype, device: torch.device) -> None:
    for seed in range(100):
        weights = heavy_tailed(200, dtype).to(device)
        assert_as_in_one(parted(weights, 1 + seed % 5, seed), 40, method, seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_of_every_kind(method: str, dtype: torch.dtype, device: torch.device) -> None:
    """No rows, one row, no weight, and more rows than a block has."""
    sizes = [0, 1, 32, 40_001, 2]
    parts = [heavy_tailed(size, dtype).to(device) for size in sizes]
    parts[1].fill_(1e3)
    parts[2].zero_()
    for seed in range(5):
        assert_as_in_one(parts, 10_000, method, seed)
        assert_as_in_one(parts[:3], 1, method, seed)
        assert_as_in_one([torch.zeros_like(part) for part in parts], 10, method, seed)


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_on_the_device(method: str, device: torch.device) -> None:
    parts = [torch.rand(30, device=device), torch.rand(70, device=device)]
    found = draw_in_parts(parts, 20, method, torch.tensor(5, device=device))
    expected = draw_in_parts(parts, 20, method, 5)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_all_parts_hear_of_a_faulty_weight(method: str, wrong: float, device: torch.device) -> None:
    parts = [torch.rand(size, device=device) for size in (4, 0, 3, 5)]
    parts[2][1] = parts[3][0] = wrong
    if device.type == "cpu":
        with pytest.raises(ValueError, match=r"weights\[5\] is negative or not finite"):
            draw_in_parts(parts, 3, method, 0)
    else:
        assert draw_in_parts(parts, 3, method, 0).prob.isnan().all()


@pytest.mark.parametrize("method", WITHOUT_REPLACEMENT)
def test_all_parts_hear_that_too_few_weights_are_positive(
    method: str, device: torch.device
) -> None:
    parts = [torch.tensor(part, device=device) for part in ([0.0, 1.0], [0.0], [3.0, 0.0])]
    if device.type == "cpu":
        with pytest.raises(ValueError, match="n is 3, but only 2 weights are positive"):
            draw_in_parts(parts, 3, method, 0)
    else:
        assert draw_in_parts(parts, 3, method, 0).prob.isnan().all()


def known(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the stages take, of rows that are all there are."""
    largest, *_ = OPS._draw_scan(weights)
    return weights, largest, torch.tensor(len(weights))


def arguments_of_a_part(**changed: Any) -> tuple[Any, ...]:
    weights = torch.rand(9)
    _, largest, rows = known(weights)
    given = {
        "weights": weights,
        "largest": largest,
        "rows": rows,
        "total": OPS._draw_total(weights, largest, rows),
        "before": torch.tensor(0),
        "n": 4,
        "method": "stratified",
        "seed": torch.tensor(3),
    }
    return tuple((given | changed).values())


CHECKED: dict[str, tuple[Any, Callable[[], tuple[Any, ...]]]] = {
    "scan": (OPS._draw_scan, lambda: (torch.rand(9),)),
    "scan-half": (OPS._draw_scan, lambda: (torch.rand(9).half(),)),
    "scan-nothing": (OPS._draw_scan, lambda: (torch.rand(0).double(),)),
    "total": (OPS._draw_total, lambda: known(torch.rand(9).double())),
    "part": (OPS._draw_part, arguments_of_a_part),
    "first": (
        OPS._draw_first,
        lambda: (*known(torch.rand(9)), torch.tensor(5), 4, "race", torch.tensor(3)),
    ),
    "arrival_prob": (
        OPS._draw_arrival_prob,
        lambda: (*known(torch.rand(9)), torch.tensor(0x20000000)),
    ),
    "certain": (OPS._draw_certain, lambda: (*known(torch.rand(9)), torch.tensor([-1, 99, 0]), 4)),
    "by_size": (
        OPS._draw_by_size,
        lambda: (
            *known(torch.rand(9)),
            torch.tensor([-1, 99, 0]),
            torch.tensor([0, 0]),
            4,
            torch.tensor(3),
        ),
    ),
}


@pytest.mark.parametrize("name", CHECKED)
def test_opcheck(name: str) -> None:
    operator, arguments = CHECKED[name]
    torch.library.opcheck(operator.default, arguments())


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"weights": torch.rand(3, 3)}, ValueError, r"weights has shape \[3, 3\]"),
        ({"largest": torch.tensor(1.0).double()}, TypeError, "largest has dtype"),
        ({"largest": torch.tensor(float("inf"))}, ValueError, "largest is inf"),
        ({"rows": torch.tensor([9])}, ValueError, r"rows has shape \[1\], but must be \[\]"),
        ({"rows": torch.tensor(2**31)}, ValueError, "rows is 2147483648"),
        ({"total": torch.tensor(1.0)}, TypeError, "total has dtype"),
        ({"n": 0}, ValueError, "n is 0, but must be between"),
        ({"method": "race"}, ValueError, 'method is "race", but must be one that draws with'),
        ({"seed": torch.tensor(3, device="meta")}, ValueError, "seed is on meta"),
    ],
)
def test_the_operators_check_what_they_are_given(
    changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        OPS._draw_part(*arguments_of_a_part(**changed))


def test_counts_must_be_of_rows_that_can_be_drawn() -> None:
    part, before, seed = known(torch.rand(9)), torch.tensor([0, 3]), torch.tensor(0)
    with pytest.raises(ValueError, match=r"found\[2\] is 5, but must be between 0 and n"):
        OPS._draw_certain(*part, torch.tensor([-1, 9, 5]), 4)
    with pytest.raises(ValueError, match=r"before\[1\] is 3, but must be between 0 and found"):
        OPS._draw_by_size(*part, torch.tensor([-1, 9, 2]), before, 4, seed)
