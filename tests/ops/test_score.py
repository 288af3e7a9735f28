"""Each kind of score; tests/ops/test_accuracy.py measures the statistics under it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import impsamp_fast as isf
from tests import reference
from tests.devices import assert_same
from tests.dtypes import DTYPES
from tests.exact import assert_relative

pytestmark = pytest.mark.usefixtures("carried_operators")

KINDS = ["loss", "grad_norm", "last_layer", "p_wrong", "margin", "entropy"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(200, 1), (1, 2), (63, 2), (64, 3), (50, 10), (3, 5, 300)])
def test_against_reference(kind: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    logits = (2 * torch.randn(shape)).to(dtype)
    target = torch.randint(shape[-1], shape[:-1])
    target.view(-1)[::6] = -100
    features = torch.randn(*shape[:-1], 7).to(dtype) if kind == "last_layer" else None
    actual = isf.score(logits, target, kind, features)
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert actual.shape == shape[:-1]
    assert (actual[target == -100] == 0).all()
    truth = reference.score(logits, target, kind, features)
    tolerance = 1e-12 if dtype == torch.float64 else 3e-6
    torch.testing.assert_close(actual.double(), truth, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hard", [False, True])
def test_options_against_reference(kind: str, hard: bool) -> None:
    logits = torch.randn(80, 6)
    target = torch.randint(6, (80,)) if hard else torch.randn(80, 6).softmax(-1)
    features = torch.randn(80, 3) if kind == "last_layer" else None
    options = {"label_smoothing": 0.2, "class_weight": torch.rand(6)}
    if hard:
        target[::4] = 5
        options["ignore_index"] = 5
    actual = isf.score(logits, target, kind, features, **options)
    truth = reference.score(logits, target, kind, features, **options)
    torch.testing.assert_close(actual.double(), truth, rtol=3e-6, atol=3e-6)


def test_statistic_and_score_are_the_same_number(device: torch.device) -> None:
    for classes in (1, 2, 10, 500):
        logits, target = 4 * torch.randn(70, classes), torch.randint(classes, (70,))
        stats = isf.row_stats(logits, target)
        for kind in ("loss", "grad_norm", "entropy"):
            assert_same(isf.score(logits, target, kind), getattr(stats, kind), device, kind)


def test_default_is_grad_norm() -> None:
    logits, target = torch.randn(9, 4), torch.randint(4, (9,))
    assert torch.equal(isf.score(logits, target), isf.score(logits, target, "grad_norm"))


def test_last_layer_is_the_norm_of_its_gradient() -> None:
    layer = nn.Linear(5, 4, dtype=torch.float64)
    features, target = torch.randn(20, 5, dtype=torch.float64), torch.randint(4, (20,))
    truth = []
    for h, y in zip(features, target, strict=True):
        layer.zero_grad()
        F.cross_entropy(layer(h), y).backward()
        truth.append(torch.cat([layer.weight.grad.flatten(), layer.bias.grad]).norm())
    actual = isf.score(layer(features).detach(), target, "last_layer", features)
    torch.testing.assert_close(actual, torch.stack(truth))


def test_features_of_any_kind() -> None:
    """Another dtype than the logits, strided, repeated, none, too long to square in float16."""
    logits, target = torch.randn(12, 3), torch.randint(3, (12,))
    for features in (
        torch.randn(12, 8, dtype=torch.float64),
        torch.randn(12, 8).half(),
        torch.randn(8, 12).t(),
        torch.randn(1, 8).expand(12, 8),
        torch.randn(12, 0),
        torch.full((12, 8), 6e4).half(),
        torch.randn(12, 1001).bfloat16(),
    ):
        actual = isf.score(logits, target, "last_layer", features)
        truth = reference.score(logits, target, "last_layer", features)
        assert_relative(actual, truth, 4e-6, f"{features.dtype} {tuple(features.shape)}")


def test_no_rows() -> None:
    for kind in KINDS:
        features = torch.zeros(0, 4) if kind == "last_layer" else None
        empty = isf.score(torch.zeros(0, 3), torch.zeros(0).long(), kind, features)
        assert empty.shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_neighbours_change_nothing(kind: str, device: torch.device) -> None:
    logits, target = 3 * torch.randn(9000, 10), torch.randint(10, (9000,))
    features = torch.randn(9000, 5) if kind == "last_layer" else None
    results = []
    for threads in (1, 2, 8):
        torch.set_num_threads(threads)
        results.append(isf.score(logits, target, kind, features))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    own = None if features is None else features[4321]
    alone = isf.score(logits[4321], target[4321], kind, own)
    assert_same(alone, results[0][4321], device)
