"""The kernels of a draw in stages, run on the host: the CPU's numbers, bit for bit."""

import pytest
import torch
from torch import Tensor

from tests.cuda.shim_device import ShimDevice
from tests.methods import WITH_REPLACEMENT
from tests.ops.test_stages import DTYPES, heavy_tailed

OPS = torch.ops.impsamp_fast
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def parts_of(dtype: torch.dtype) -> list[Tensor]:
    """No rows, one, no weight, and several blocks of rows."""
    parts = [heavy_tailed(size, dtype) for size in (0, 1, 33, 3001, 2)]
    parts[1].fill_(1e3)
    parts[2].zero_()
    return parts


def known_of(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The largest weight and the number of rows."""
    whole = torch.cat(parts)
    return OPS._draw_scan(whole)[0], torch.tensor(len(whole))


@every_dtype
def test_scan(shim: ShimDevice, dtype: torch.dtype) -> None:
    faulty = heavy_tailed(70, dtype)
    faulty[60] = faulty[33] = -1
    for weights in (*parts_of(dtype), faulty):
        found, expected = shim.draw_scan(weights), OPS._draw_scan(weights)
        for actual, wanted in zip(found, expected, strict=True):
            assert torch.equal(actual.nan_to_num(-1), wanted.nan_to_num(-1).reshape(1))


@every_dtype
@pytest.mark.parametrize("method", WITH_REPLACEMENT)
def test_total_and_part(shim: ShimDevice, method: str, dtype: torch.dtype) -> None:
    for scale in (1.0, 0.0):
        parts = [scale * part for part in parts_of(dtype)]
        known = known_of(parts)
        totals = torch.stack([OPS._draw_total(part, *known) for part in parts])
        for seed, part in enumerate(parts):
            assert shim.draw_total(part, *known) == totals[seed]
            share = (totals.sum(), totals[:seed].sum(), 500, method, torch.tensor(seed))
            found, expected = (
                run(part, *known, *share) for run in (shim.draw_part, OPS._draw_part)
            )
            assert all(map(torch.equal, found, expected))


@every_dtype
@pytest.mark.parametrize("method", ["race", "topk"])
def test_first(shim: ShimDevice, method: str, dtype: torch.dtype) -> None:
    for scale in (1.0, 0.0):
        parts = [scale * part for part in parts_of(dtype)]
        known = known_of(parts)
        before = 0
        for seed, part in enumerate(parts):
            order = (torch.tensor(before), 40, method, torch.tensor(seed))
            found, expected = (
                run(part, *known, *order) for run in (shim.draw_first, OPS._draw_first)
            )
            assert all(map(torch.equal, found, expected))
            before += len(part)


@every_dtype
def test_arrival_prob(shim: ShimDevice, dtype: torch.dtype) -> None:
    drawn = heavy_tailed(500, dtype)
    known = (drawn, drawn.max(), torch.tensor(9000))
    for next_arrival in (0x20000000, 0x1F000000):
        key = torch.tensor(next_arrival)
        found = shim.draw_arrival_prob(*known, key)
        assert torch.equal(found, OPS._draw_arrival_prob(*known, key))


@every_dtype
def test_certain_and_by_size(shim: ShimDevice, dtype: torch.dtype) -> None:
    for scale, n in ((1.0, 500), (0.0, 40)):
        parts = [scale * part for part in parts_of(dtype)]
        known = known_of(parts)
        total = torch.stack([OPS._draw_total(part, *known) for part in parts]).sum()
        found, last = torch.tensor([-1, total, 0]), None
        while last is None or found[0] != last[0]:
            counted = torch.stack([OPS._draw_certain(part, *known, found, n) for part in parts])
            for part, expected in zip(parts, counted, strict=True):
                assert torch.equal(shim.draw_certain(part, *known, found, n), expected)
            found, last = torch.cat([counted[0, :1], counted[:, 1:].sum(0)]), found
        for seed, part in enumerate(parts):
            share = (found, counted[:seed, 1:].sum(0), n, torch.tensor(seed))
            drawn, expected = (
                run(part, *known, *share) for run in (shim.draw_by_size, OPS._draw_by_size)
            )
            assert all(map(torch.equal, drawn, expected))


@every_dtype
def test_a_faulty_part_leads_no_kernel_astray(shim: ShimDevice, dtype: torch.dtype) -> None:
    """By no largest weight, or by 0 as draw_in_parts has it: then all are equal."""
    weights = heavy_tailed(3001, dtype)
    weights[5] = torch.nan
    nan, *_ = shim.draw_scan(weights)
    zero, rows, seed = torch.tensor(0), torch.tensor(3001), torch.tensor(1)
    for largest in (nan, torch.zeros_like(nan)):
        known = (weights, largest, rows)
        total = shim.draw_total(*known)
        shim.draw_part(*known, total, zero, 40, "multinomial", seed)
        for method in ("race", "topk"):
            shim.draw_first(*known, zero, 40, method, seed)
