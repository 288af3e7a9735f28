"""The launching code: what is compiled, when, with what it is called, and what it refuses."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from impsamp_fast.ops import _metal, _metal_draw
from tests import reference
from tests.metal.fake_mps import ByMetal, FakeMPS
from tests.shim.building import ROOT

LIBRARIES = sorted(path.stem for path in (ROOT / "csrc" / "metal").glob("*.metal"))


@pytest.fixture
def mps(running: FakeMPS) -> Iterator[FakeMPS]:
    """The operators run on Metal's kernels."""
    running.forget_launches()
    with running.active(), ByMetal():
        yield running


def rows(count: int = 9, classes: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(count, classes), torch.randint(classes, (count,))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_source_is_one_string(name: str) -> None:
    source = _metal.source(name)
    assert '#include "' not in source
    assert "//" not in source
    assert source.count("struct Decay") <= 1
    assert len(source) < 80_000


@pytest.mark.parametrize("name", sorted(_metal._implemented))
def test_is_registered_for_mps(name: str) -> None:
    for overload in (name, f"{name}.out"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"impsamp_fast::{overload}", "MPS")


def test_a_library_is_compiled_once_when_it_is_needed() -> None:
    with closing(FakeMPS()) as mps, mps.active(), ByMetal():
        isf.score(*rows(), kind="loss")
        assert mps.launches == ["row_stats_float"]
        isf.score(*rows(), kind="entropy")
        assert mps.launches == ["row_stats_float", "row_stats_entropy_float"]
        assert len(mps.libraries) == 1


@pytest.mark.parametrize("error", [SyntaxError, RuntimeError])
def test_a_compile_error_says_which_file(error: type[Exception]) -> None:
    def fail(source: str) -> None:
        raise error("program_source:7:1: unknown type name")

    mps = FakeMPS()
    mps.compile_shader = fail  # type: ignore[method-assign,assignment]
    with (
        mps.active(),
        ByMetal(),
        pytest.raises(RuntimeError, match=r"csrc/metal/row_stats.metal .*unknown type name"),
    ):
        isf.score(*rows())


def test_fast_math_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_MPS_FAST_MATH", "1")
    with FakeMPS().active(), ByMetal(), pytest.raises(RuntimeError, match="FAST_MATH is set"):
        isf.score(*rows())


def test_bfloat16_needs_metal_3_1(mps: FakeMPS, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = rows()
    isf.score(logits, target)
    library = mps.libraries[0]
    kernels = [name for name in dir(library) if "bfloat" not in name]
    monkeypatch.setattr(type(library), "__dir__", lambda _: kernels)
    with pytest.raises(TypeError, match="update macOS, or convert"):
        isf.score(logits.bfloat16(), target)


def test_the_public_functions(mps: FakeMPS) -> None:
    logits, target = rows(5, 3)
    stats = isf.row_stats(logits, target, label_smoothing=0.1)
    for found, expected in zip(
        stats, reference.row_stats(logits, target, label_smoothing=0.1), strict=True
    ):
        torch.testing.assert_close(found.double(), expected, rtol=2e-6, atol=2e-6)
    assert mps.launches == ["soft_row_stats_float"]
    features = torch.randn(5, 7)
    found = isf.score(logits, target, kind="last_layer", features=features)
    norm = isf.score(logits, target) * (1 + features.square().sum(1)).sqrt()
    torch.testing.assert_close(found, norm)


def test_leading_dimensions_and_small_integers(mps: FakeMPS) -> None:
    logits, target = torch.randn(2, 3, 4), torch.randint(4, (2, 3), dtype=torch.uint8)
    found = isf.score(logits, target, kind="loss")
    expected = reference.row_stats(logits.flatten(0, 1), target.flatten().long()).loss
    torch.testing.assert_close(found.double().flatten(), expected, rtol=2e-6, atol=0.0)
    assert isf.score(logits[:0], target[:0]).shape == (0, 3)


def test_what_it_refuses(mps: FakeMPS) -> None:
    logits, target = rows()
    with pytest.raises(TypeError, match="on mps must be float32, float16 or bfloat16"):
        isf.score(logits.double(), target)
    with pytest.raises(ValueError, match='kind is "los", but must be one of "loss", "grad_norm"'):
        isf.score(logits, target, kind="los")
    with pytest.raises(ValueError, match="features is None"):
        isf.score(logits, target, kind="last_layer")
    with pytest.raises(ValueError, match=r"target has shape \[8\]"):
        isf.score(logits, target[1:])
    assert mps.launches == []


def test_the_order_of_too_many_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="weights has 536870913 rows, but on mps at most 5368709"):
        _metal_draw.check_ordered(2**29 + 1)
    _metal_draw.check_ordered(2**29)


def test_places_for_results(mps: FakeMPS) -> None:
    logits, target = rows()
    place = torch.empty(9)
    version = place._version
    assert isf.score(logits, target, out=place) is place
    assert place._version > version
    torch.testing.assert_close(place, isf.score(logits, target))
    whole = torch.empty(9, 5)
    for wrong, message in (
        (torch.empty(8), "out has shape"),
        (torch.empty(9, dtype=torch.float64), "out has dtype"),
        (logits.flatten()[:9], "out shares memory with an argument"),
        (torch.empty(9, requires_grad=True), "out requires grad"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            isf.score(logits, target, out=wrong)
    stats = isf.RowStats(*(whole.flatten()[9 * i : 9 * i + 9] for i in range(5)))
    isf.row_stats(logits, target, out=stats)
    with pytest.raises(ValueError, match=r"out.p_true shares memory with out.loss"):
        isf.row_stats(logits, target, out=stats._replace(p_true=stats.loss))
