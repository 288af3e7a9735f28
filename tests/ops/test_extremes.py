"""Where arithmetic leaves its range: subnormal numbers, huge features, high powers."""

import pytest
import torch

import impsamp_fast as isf
from impsamp_fast.ops._stages import draw_in_parts
from tests.methods import METHODS

every_device = pytest.mark.usefixtures("carried_operators")


@pytest.fixture
def flush_denormal():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("method", METHODS)
def test_subnormal_weights_do_not_depend_on_the_processors_mode(method, request):
    weights = torch.rand(40_000) * 1e-40
    expected = {k: isf.draw(weights, 1000, method, seed=1).index for k in (1, 2)}
    request.getfixturevalue("flush_denormal")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert torch.equal(isf.draw(weights, 1000, method, seed=1).index, expected[threads])
    in_parts = draw_in_parts(weights.split(15_001), 1000, method, seed=1)
    assert torch.equal(in_parts.index, expected[1])


@every_device
def test_smoothing_gives_every_row_a_chance_beside_a_subnormal_score():
    logits = torch.tensor([[100.0, 0.0]] + [[200.0, 0.0]] * 15)
    selection = isf.select(
        logits, torch.zeros(16, dtype=torch.int64), 8, method="race", smoothing=1e-3
    )
    assert 0 < selection.score[0] < 1e-38
    assert len(set(selection.index.tolist())) == 8


@every_device
@pytest.mark.parametrize("power", [1000.0, -1000.0, 3.0])
def test_powers_of_weights_stay_finite(power):
    logits, target = 3 * torch.randn(64, 4), torch.randint(4, (64,))
    chosen = isf.select(logits, target, 16, correction=power, seed=1)
    unbiased = isf.select(logits, target, 16, correction="unbiased", seed=1)
    assert torch.isfinite(chosen.weight).all()
    score = chosen.score[chosen.index]
    torch.testing.assert_close((chosen.weight * score).sum(), (unbiased.weight * score).sum())


@every_device
def test_features_beyond_the_range_of_their_squares():
    logits, target = torch.randn(4, 3), torch.randint(3, (4,))
    features = torch.full((4, 5), 1e20)
    found = isf.score(logits, target, "last_layer", features)
    expected = isf.score(logits, target).double() * 1e20 * 5**0.5
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


@every_device
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_must_be_finite_except_of_ignored_rows(value):
    logits, target = torch.randn(4, 3), torch.tensor([0, -100, 1, 2])
    features = torch.randn(4, 5)
    features[1, 2] = value
    assert isf.score(logits, target, "last_layer", features)[1] == 0
    features[2, 3] = value
    with pytest.raises(ValueError, match=r"features\[2, 3\] is .*, but features must be finite"):
        isf.score(logits, target, "last_layer", features)


@every_device
def test_a_class_weight_must_fit_float32():
    weight = torch.tensor([1.0, 1e300], dtype=torch.float64)
    logits, target = torch.zeros(1, 2), torch.tensor([1])
    with pytest.raises(ValueError, match=r"class_weight\[1\] is inf"):
        isf.row_stats(logits, target, class_weight=weight)
    assert torch.isfinite(isf.row_stats(logits.double(), target, class_weight=weight).loss).all()


@pytest.mark.parametrize(
    ("weights", "n", "method"),
    [([1.0, 0.0, 0.0], 2, "race"), ([1.0, -1.0], 1, "multinomial"), ([1.0, 2.0], 1, "topk")],
)
def test_what_draws_nothing_leaves_the_generator_alone(weights, n, method):
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    try:
        isf.draw(torch.tensor(weights), n, method, generator=generator)
    except ValueError:
        assert method != "topk"
    assert torch.equal(generator.get_state(), before)
