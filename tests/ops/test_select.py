"""select is score, draw and a weight in one call."""

import itertools

import pytest
import torch

import impsamp_fast as isf
from tests import reference
from tests.devices import assert_same
from tests.dtypes import DTYPES
from tests.methods import METHODS

pytestmark = pytest.mark.usefixtures("carried_operators")

CORRECTIONS = ["none", "unbiased", "normalized", 0.0, 0.5, 1.0, -1.0]


def assert_like_reference(logits: torch.Tensor, target: torch.Tensor, n: int, **options) -> None:
    actual = isf.select(logits, target, n, **options)
    truth = reference.select(logits, target, n, **options)
    assert actual.index.shape == actual.weight.shape == (n,)
    assert actual.score.shape == actual.loss.shape == logits.shape[:-1]
    assert actual.tau.shape == actual.status.shape == ()
    assert actual.index.dtype == actual.status.dtype == torch.int64
    assert actual.status == 0
    wide = logits.dtype == torch.float64
    tolerance = 1e-11 if wide else 1e-5
    for name in ("weight", "score", "loss", "tau"):
        value = getattr(actual, name)
        assert value.dtype == (torch.float64 if wide else torch.float32), name
        if name != "weight":
            expected = getattr(truth, name)
            torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)
    # Scores that differ in the last bit can move a draw to the next row, so that the reference
    # draws and weighs with the scores that select returned.
    ignored = torch.zeros_like(actual.score.flatten(), dtype=torch.bool)
    if not target.is_floating_point():
        ignored = (target == options.get("ignore_index", -100)).flatten()
    scores = actual.score.flatten()
    weights = reference.sampling_weights(scores, ignored, options.get("smoothing", 0.0))
    method = options.get("method", "multinomial")
    drawn = reference.draw(weights, n, method, options["seed"])
    assert torch.equal(actual.index, drawn.index)
    correction = options.get("correction", "unbiased")
    picked = weights[drawn.index].double()
    expected = reference.corrected(drawn.prob, picked, len(scores), method, correction)
    # A race is run in float32: its probabilities, and powers of them, have its errors.
    power = abs(correction) if isinstance(correction, float) else 1
    if method == "race":
        tolerance = 4e-6 * max(1, power)
    else:
        tolerance = 1e-11 if wide else 5e-7 * max(1, power)
    torch.testing.assert_close(actual.weight.double(), expected, rtol=tolerance, atol=0.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_every_method_and_correction(method: str, correction: str | float) -> None:
    logits, target = 2 * torch.randn(150, 6), torch.randint(6, (150,))
    target[::9] = -100
    for seed, smoothing in itertools.product(range(5), (0.0, 0.25, 1.0)):
        assert_like_reference(
            logits,
            target,
            40,
            method=method,
            correction=correction,
            smoothing=smoothing,
            seed=seed,
        )


@pytest.mark.parametrize(
    "score", ["loss", "grad_norm", "last_layer", "p_wrong", "margin", "entropy"]
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(40, 2), (7, 5, 3), (33, 100), (4, 1000)])
def test_every_score_and_dtype(score: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    logits = (2 * torch.randn(shape)).to(dtype)
    features = torch.randn(*shape[:-1], 4).to(dtype) if score == "last_layer" else None
    for target in (torch.randint(shape[-1], shape[:-1]), torch.rand(shape).softmax(-1).to(dtype)):
        for method in ("multinomial", "race", "pps"):
            assert_like_reference(
                logits, target, 3, score=score, features=features, method=method, seed=1
            )


def test_options_reach_the_score(device: torch.device) -> None:
    logits, target = torch.randn(60, 5), torch.randint(5, (60,))
    options = {"label_smoothing": 0.2, "class_weight": torch.rand(5), "ignore_index": 3}
    for score in ("loss", "grad_norm", "margin"):
        picked = isf.select(logits, target, 20, score, seed=0, **options)
        assert_same(picked.score, isf.score(logits, target, score, **options), device)
        assert_same(picked.loss, isf.row_stats(logits, target, **options).loss, device)
        assert (target[picked.index] != 3).all()


@pytest.mark.parametrize("classes", [2, 3, 10, 17, 300])
def test_score_and_loss_are_those_of_the_other_operators(
    classes: int, device: torch.device
) -> None:
    logits, target = 4 * torch.randn(130, classes), torch.randint(classes, (130,))
    for score in ("loss", "grad_norm", "p_wrong", "margin", "entropy"):
        picked = isf.select(logits, target, 5, score, seed=0)
        assert_same(picked.score, isf.score(logits, target, score), device, score)
        assert_same(picked.loss, isf.row_stats(logits, target).loss, device, score)


def test_any_strides() -> None:
    logits = torch.randn(10, 4, 5).transpose(0, 1)
    target = torch.randint(5, (10, 4)).t()
    for seed in range(10):
        assert_like_reference(logits, target, 8, seed=seed)
        assert_like_reference(logits[:, ::2, 1:4], target[:, ::2] % 3, 8, seed=seed)
        assert_like_reference(logits[:1].expand(4, 10, 5), target, 8, seed=seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_all_scores_zero_is_uniform(method: str, smoothing: float) -> None:
    logits, target = torch.zeros(30, 1), torch.zeros(30, dtype=torch.long)
    target[:10] = -100
    picked = isf.select(logits, target, 12, "loss", method, smoothing=smoothing, seed=0)
    assert (picked.score == 0).all()
    assert (picked.index >= 10).all()
    assert picked.tau.item() == pytest.approx((30 / 20) ** 0.5)
    # Each row counts for the 20 / 30 of a batch of which a third is ignored. The race's
    # probabilities depend on its last arrival, and topk corrects nothing.
    if method not in ("race", "topk"):
        torch.testing.assert_close(picked.weight, torch.full((12,), 20 / 30))


@pytest.mark.parametrize("method", METHODS)
def test_ignored_rows_are_never_drawn(method: str) -> None:
    logits, target = torch.randn(100, 3), torch.randint(3, (100,))
    target[torch.rand(100) < 0.5] = -100
    for smoothing in (0.0, 0.5, 1.0):
        for seed in range(50):
            picked = isf.select(logits, target, 30, method=method, smoothing=smoothing, seed=seed)
            assert (target[picked.index] != -100).all()


def test_tau_by_hand() -> None:
    """Losses log 2, log 2, 0 and 0 are an effective sample of 2 in 4 rows: tau = sqrt(4 / 2)."""
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, -torch.inf], [0.0, -torch.inf]])
    picked = isf.select(logits, torch.zeros(4).long(), 2, "loss", seed=0)
    assert picked.tau.item() == pytest.approx(2**0.5)
    smoothed = isf.select(logits, torch.zeros(4).long(), 2, "loss", smoothing=1.0, seed=0)
    assert smoothed.tau.item() == pytest.approx(1.0)


def test_weights_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, -torch.inf], [0.0, 0.0]])
    target = torch.zeros(4).long()
    for seed in range(10):
        multinomial = isf.select(logits, target, 5, "loss", seed=seed)
        torch.testing.assert_close(multinomial.weight, torch.full((5,), 3 / 4))
        pps = isf.select(logits, target, 2, "loss", "pps", seed=seed)
        torch.testing.assert_close(pps.weight, torch.full((2,), 3 / 4))
        certain = isf.select(logits, target, 3, "loss", "pps", seed=seed)
        torch.testing.assert_close(certain.weight, torch.full((3,), 3 / 4))
        topk = isf.select(logits, target, 3, "loss", "topk")
        assert topk.index.tolist() == [0, 1, 3]
        assert topk.weight.tolist() == [1.0, 1.0, 1.0]


def test_normalized_weights_have_mean_1() -> None:
    logits, target = 3 * torch.randn(200, 4), torch.randint(4, (200,))
    for method in METHODS:
        picked = isf.select(logits, target, 50, method=method, correction="normalized", seed=2)
        assert picked.weight.mean().item() == pytest.approx(1.0, abs=1e-6)


def test_biased_variant_keeps_the_weighted_score() -> None:
    logits, target = 3 * torch.randn(200, 4), torch.randint(4, (200,))
    for k in (-2.0, 0.0, 0.5, 2, 1):
        unbiased = isf.select(logits, target, 50, method="race", seed=2)
        biased = isf.select(logits, target, 50, method="race", correction=k, seed=2)
        assert torch.equal(biased.index, unbiased.index)
        score = unbiased.score[unbiased.index]
        expected = (unbiased.weight * score).sum()
        torch.testing.assert_close((biased.weight * score).sum(), expected)
        ratio = biased.weight / unbiased.weight**k
        torch.testing.assert_close(ratio, ratio[:1].expand(50))


def test_threads_change_nothing() -> None:
    for shape in ((3000, 10), (100_000, 2), (20, 50_000)):
        logits, target = 3 * torch.randn(shape), torch.randint(shape[1], shape[:1])
        for method in METHODS:
            results = []
            for threads in (1, 2, 8):
                torch.set_num_threads(threads)
                results.append(isf.select(logits, target, 16, method=method, seed=3))
            for other in results[1:]:
                assert all(map(torch.equal, results[0], other)), (shape, method)


def test_gradients_are_not_tracked() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    picked = isf.select(logits, torch.zeros(4).long(), 2)
    assert not any(value.requires_grad for value in picked)


def test_infinite_scores_are_rejected() -> None:
    """A target on a masked class has an infinite loss: it would take every draw."""
    logits = torch.tensor([[0.0, -torch.inf], [0.0, 1.0]])
    target = torch.tensor([1, 0])
    with pytest.raises(ValueError, match="score"):
        isf.select(logits, target, 1, "loss")
    assert isf.select(logits, target, 1, "grad_norm").loss[0] == torch.inf
