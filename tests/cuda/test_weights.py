"""The kernels of smoothed and corrected, run on the host: the CPU's numbers, bit for bit."""

import pytest
import torch

import impsamp_fast as isf
from tests.cuda.shim_device import ShimDevice
from tests.shim.device import KINDS

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 31, 33, 500, 3001])
def test_smoothed(shim: ShimDevice, rows: int, dtype: torch.dtype) -> None:
    for scale in (0.0, 1.0, 3e38):
        scores = scale * torch.rand(rows, dtype=dtype)
        ignored = torch.arange(rows) % 3 == 1
        for smoothing in (0.0, 0.3, 1.0):
            for mask in (None, ignored):
                found = shim.smoothed(scores, smoothing, mask)
                expected = isf.smoothed(scores, smoothing, mask)
                for actual, wanted in zip(found, expected, strict=True):
                    assert torch.equal(actual, wanted)


def test_what_is_wrong_with_scores_is_marked(shim: ShimDevice) -> None:
    for wrong in (-1.0, float("nan"), float("inf")):
        scores = torch.rand(70)
        scores[33] = wrong
        weights, tau = shim.smoothed(scores, 0.2)
        assert weights.isnan().all()
        assert tau.isnan()
        fine, tau = shim.smoothed(scores, 0.2, torch.arange(70) == 33)
        assert fine.isfinite().all()
        assert tau.isfinite()
    assert shim.smoothed(torch.rand(9), 0.0, torch.ones(9).bool())[1].isnan()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_corrected(shim: ShimDevice, kind: str, dtype: torch.dtype) -> None:
    for n in (1, 40, 1500):
        prob, by = torch.rand(n, dtype=dtype), torch.rand(n, dtype=dtype)
        for correction in ("unbiased", "normalized", "none", 0.5, -14.0):
            found = shim.corrected(prob, by, 5000, kind, correction)
            expected = isf.corrected(prob, by, 5000, kind, correction)
            assert torch.equal(found, expected)
