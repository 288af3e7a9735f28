"""The draw kernels of CUDA, run on the host: the rows and probabilities of the CPU, bit for bit.

The sizes are those at which the kernels share out their work in another way: one warp, one block,
several tiles of rows, stripes of several rows, and the whole grid.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests import reference
from tests.cuda.shim_device import ShimDevice
from tests.methods import METHODS, WITH_REPLACEMENT, WITHOUT_REPLACEMENT
from tests.ops.test_draw import SEEDS, WEIGHTS, largest_n
from tests.shim.device import DeviceDraw, Seed

BLOCK_ROWS = [31, 33, 512, 1000, 1024, 1025, 2048, 2049, 4096, 4097]


@pytest.fixture(scope="module")
def shuffled() -> Iterator[ShimDevice]:
    """The device with one order, for what takes long; odd addresses, few multiprocessors."""
    with ShimDevice(order=3, multiprocessors=2, shift=1) as device:
        yield device


def heavy_tailed(rows: int, dtype: torch.dtype) -> Tensor:
    """Weights over many orders of magnitude, a tenth of them zero."""
    generator = torch.Generator().manual_seed(rows)
    weights = torch.randn(rows, dtype=torch.float64, generator=generator).mul(3).exp()
    weights[torch.rand(rows, generator=generator) < 0.1] = 0
    weights[rows // 2] = 1
    return weights.to(dtype)


def assert_as_on_the_cpu(
    actual: DeviceDraw, weights: Tensor, n: int, method: str, seed: int
) -> None:
    truth = isf.draw(weights, n, method, seed)
    assert actual.status == 0
    assert torch.equal(actual.index, truth.index)
    assert torch.equal(actual.prob, truth.prob)


def assert_failed(actual: DeviceDraw, rows: int, status: int, fine: int | None = None) -> None:
    """All of index is the row ``fine``, if there is one."""
    assert actual.status == status
    modulo = torch.arange(len(actual.index)) % rows
    assert torch.equal(actual.index, modulo if fine is None else torch.full_like(modulo, fine))
    assert actual.prob.isnan().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_the_same_rows_as_the_cpu(shim: ShimDevice, method: str, name: str) -> None:
    weights = WEIGHTS[name].to(torch.promote_types(WEIGHTS[name].dtype, torch.float32)).contiguous()
    for n in (1, 32, 200):
        n = largest_n(weights, method, n)
        for seed in SEEDS[:6:2]:
            assert_as_on_the_cpu(shim.draw(weights, n, method, seed), weights, n, method, seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_layout_of_a_block(shim: ShimDevice, method: str, dtype: torch.dtype) -> None:
    for rows in BLOCK_ROWS:
        weights = heavy_tailed(rows, dtype)
        n = largest_n(weights, method, rows // 3)
        assert_as_on_the_cpu(shim.draw(weights, n, method, 5), weights, n, method, 5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [8192, 10007, 33000, 65536, 65537, 100003])
def test_many_rows(shuffled: ShimDevice, method: str, rows: int) -> None:
    for dtype in shuffled.reals:
        weights = heavy_tailed(rows, dtype)
        assert_as_on_the_cpu(shuffled.draw(weights, 700, method, 6), weights, 700, method, 6)


@pytest.mark.parametrize("method", METHODS)
def test_long_stripes_at_an_aligned_address(method: str) -> None:
    with ShimDevice() as device:
        for dtype in (torch.float32, torch.float64):
            weights = heavy_tailed(60001, dtype)
            assert_as_on_the_cpu(device.draw(weights, 99, method, 7), weights, 99, method, 7)


@pytest.mark.parametrize("method", WITH_REPLACEMENT)
@pytest.mark.parametrize("rows", [3, 1500])
def test_more_draws_than_rows(shuffled: ShimDevice, method: str, rows: int) -> None:
    weights = heavy_tailed(rows, torch.float32)
    for n in (1025, 8192, 8193):
        assert_as_on_the_cpu(shuffled.draw(weights, n, method, 8), weights, n, method, 8)


@pytest.mark.parametrize("method", WITHOUT_REPLACEMENT)
@pytest.mark.parametrize("rows", [50, 3000, 70000])
def test_every_positive_row(shuffled: ShimDevice, method: str, rows: int) -> None:
    for dtype in shuffled.reals:
        weights = heavy_tailed(rows, dtype)
        n = int(weights.count_nonzero())
        assert_as_on_the_cpu(shuffled.draw(weights, n, method, 9), weights, n, method, 9)


@pytest.mark.parametrize(("rows", "draws"), [(60, [2, 20, 41, 50]), (2000, [9, 45]), (66000, [41])])
def test_pps_makes_rows_certain_in_many_rounds(
    shuffled: ShimDevice, rows: int, draws: list[int]
) -> None:
    for dtype in shuffled.reals:
        weights = torch.ones(rows, dtype=dtype)
        weights[:: rows // 40] = 2.0 ** torch.arange(len(weights[:: rows // 40]))
        for n in draws:
            assert_as_on_the_cpu(shuffled.draw(weights, n, "pps", n), weights, n, "pps", n)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [20, 66000])
def test_all_zero_is_uniform(shuffled: ShimDevice, method: str, rows: int) -> None:
    for dtype in shuffled.reals:
        weights = -torch.zeros(rows, dtype=dtype)
        assert_as_on_the_cpu(shuffled.draw(weights, 20, method, 3), weights, 20, method, 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [40, 5000, 66000])
def test_the_first_bad_weight_is_named(shuffled: ShimDevice, method: str, rows: int) -> None:
    for bad in (-1e-30, math.nan, math.inf, -math.inf)[: 4 if rows < 5000 else 1]:
        weights = torch.rand(rows) + 0.1
        weights[[rows - 1, rows // 2, rows // 2 + 1]] = bad
        weights[3] = -0.0
        assert_failed(shuffled.draw(weights, rows // 2 + 7, method), rows, 1 + rows // 2, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [40, 5000, 66000])
def test_a_failed_draw_keeps_away_from_bad_weights(
    shuffled: ShimDevice, method: str, rows: int
) -> None:
    for dtype in shuffled.reals:
        weights = torch.full((rows,), math.nan, dtype=dtype)
        assert_failed(shuffled.draw(weights, rows + 7, method), rows, 1 + 0)
        for fine in (rows - 1, rows // 2, 1):
            weights[fine] = 0.0 if fine == 1 else 0.5
            assert_failed(shuffled.draw(weights, rows + 7, method), rows, 1 + 0, fine)


@pytest.mark.parametrize("method", METHODS)
def test_little_shared_memory(method: str) -> None:
    with ShimDevice(order=3, shared_memory=32 * 1024) as device:
        for dtype in (torch.float32, torch.float64):
            for rows in (300, 4096):
                weights = heavy_tailed(rows, dtype)
                assert_as_on_the_cpu(device.draw(weights, 99, method, 7), weights, 99, method, 7)


@pytest.mark.parametrize("method", WITHOUT_REPLACEMENT)
@pytest.mark.parametrize("rows", [40, 66000])
def test_too_few_positive_weights(shuffled: ShimDevice, method: str, rows: int) -> None:
    weights = torch.zeros(rows)
    weights[1::4] = 1e-45
    positive = int(weights.count_nonzero())
    assert shuffled.draw(weights, positive, method).status == 0
    assert_failed(shuffled.draw(weights, positive + 1, method), rows, -1 - positive)
    assert_failed(shuffled.draw(0 * weights, rows + 3, method), rows, -1 - rows)


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_is_read_on_the_device(shuffled: ShimDevice, method: str) -> None:
    weights = torch.rand(100) + 0.1
    for value in (-5, 2**62 + 3):
        at = torch.tensor([value])
        drawn = shuffled.draw(weights, 9, method, Seed(at=at))
        assert_as_on_the_cpu(drawn, weights, 9, method, value)


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_is_made_of_a_generator(shuffled: ShimDevice, method: str) -> None:
    weights = torch.rand(100) + 0.1
    for value in (-5, 2**62 + 3):
        for seed in (Seed(value), Seed(at=torch.tensor([value]))):
            for offset, more in ((0, None), (8, None), (12, 4 * 10**10)):
                source = replace(
                    seed,
                    from_generator=True,
                    offset=offset,
                    offset_at=None if more is None else torch.tensor([more]),
                )
                number = reference.random_number(value, (offset + (more or 0)) // 4 * 2)
                drawn = shuffled.draw(weights, 9, method, source)
                assert_as_on_the_cpu(drawn, weights, 9, method, number)


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_is_read_by_the_whole_grid(shuffled: ShimDevice, method: str) -> None:
    weights = torch.rand(66000) + 0.1
    source = Seed(at=torch.tensor([7]), from_generator=True, offset=4, offset_at=torch.tensor([4]))
    drawn = shuffled.draw(weights, 9, method, source)
    assert_as_on_the_cpu(drawn, weights, 9, method, reference.random_number(7, 4))
