"""draw picks exactly the rows its definition names; tests/ops/test_frequencies.py counts them."""

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests import reference
from tests.methods import METHODS, WITHOUT_REPLACEMENT

pytestmark = pytest.mark.usefixtures("carried_operators")


WEIGHTS: dict[str, Tensor] = {
    "flat": torch.ones(64),
    "random": torch.rand(100, generator=torch.Generator().manual_seed(1)),
    "skewed": torch.arange(1, 1025).float() ** 4,
    "half zero": torch.tensor([0.0, 3.0] * 40),
    "decades": torch.logspace(-6, 6, 333),
    "one row": torch.tensor([0.3]),
    "tiny": torch.tensor([1e-45, 1e-38, 3e-45, 1e-40] * 9),
    "huge": torch.tensor([3e38, 1e38, 3.4e38, 1e-45] * 9),
    "float64 range": torch.tensor([5e-324, 1e-300, 1.0, 1e308] * 9, dtype=torch.float64),
    "float16": torch.rand(70, generator=torch.Generator().manual_seed(2)).half(),
    "bfloat16": torch.rand(70, generator=torch.Generator().manual_seed(3)).bfloat16(),
    "all zero": torch.zeros(50),
    "strided": torch.rand(200, generator=torch.Generator().manual_seed(4))[::2],
    "repeated": torch.tensor([0.7]).expand(33),
}
SEEDS = [0, 1, -1, 2**63 - 1, -(2**63), 2**64 - 1, 123456789123456789]


def largest_n(weights: Tensor, method: str, n: int) -> int:
    positive = int(weights.count_nonzero()) or len(weights)
    return min(n, positive) if method in WITHOUT_REPLACEMENT else n


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_same_rows_as_the_reference(method: str, weights: Tensor) -> None:
    for n in (1, 2, 7, 32, 1000):
        n = largest_n(weights, method, n)
        for seed in SEEDS:
            actual = isf.draw(weights, n, method, seed)
            truth = reference.draw(weights, n, method, seed)
            assert actual.index.dtype == torch.int64
            assert actual.index.shape == actual.prob.shape == (n,)
            assert torch.equal(actual.index, truth.index), (n, seed)
            # The race is run in float32.
            tolerance = 4e-6 if method == "race" else 3e-7
            torch.testing.assert_close(actual.prob.double(), truth.prob, rtol=tolerance, atol=0.0)


@pytest.mark.parametrize("method", METHODS)
def test_prob_dtype_is_that_of_the_statistics(method: str) -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert isf.draw(torch.ones(5, dtype=dtype), 2, method, seed=0).prob.dtype == torch.float32
    assert isf.draw(torch.ones(5).double(), 2, method, seed=0).prob.dtype == torch.float64


@pytest.mark.parametrize("method", ["race", "pps", "topk"])
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_no_row_is_drawn_twice_without_replacement(method: str, weights: Tensor) -> None:
    most = largest_n(weights, method, 10**9)
    for n in {1, max(1, most // 2), max(1, most - 1), most}:
        for seed in range(30):
            index = isf.draw(weights, n, method, seed).index
            assert len(index.unique()) == n


@pytest.mark.parametrize("method", METHODS)
def test_zero_weights_are_never_drawn(method: str) -> None:
    weights = torch.rand(1000)
    weights[::2] = 0
    weights[:100] = 0
    weights[-100:] = 0
    for seed in range(200):
        n = 400 if method in WITHOUT_REPLACEMENT else 5000
        drawn = isf.draw(weights, n, method, seed)
        assert (weights[drawn.index] > 0).all()
        assert (drawn.prob > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_negative_zero_is_zero(method: str) -> None:
    drawn = isf.draw(torch.tensor([-0.0, 1.0, -0.0]), 1, method, seed=3)
    assert drawn.index.tolist() == [1]


@pytest.mark.parametrize("method", WITHOUT_REPLACEMENT)
def test_all_positive_rows_can_be_drawn(method: str) -> None:
    weights = torch.tensor([0.0, 1e-30, 5.0, 0.0, 1e30, 2.0])
    drawn = isf.draw(weights, 4, method, seed=0)
    assert sorted(drawn.index.tolist()) == [1, 2, 4, 5]
    assert drawn.prob.tolist() == [1.0] * 4


@pytest.mark.parametrize("method", WITHOUT_REPLACEMENT)
def test_more_than_the_positive_rows_is_an_error(method: str) -> None:
    message = (
        f'n is 5, but only 4 weights are positive and method "{method}" draws without replacement'
    )
    with pytest.raises(ValueError, match=message):
        isf.draw(torch.tensor([0.0, 1e-30, 5.0, 0.0, 1e30, 2.0]), 5, method, seed=0)


def test_topk_is_sorted_with_ties_to_the_lower_row() -> None:
    weights = torch.tensor([1.0, 3.0, 2.0, 3.0, 1.0, 2.0])
    assert isf.draw(weights, 5, "topk").index.tolist() == [1, 3, 2, 5, 0]
    # One unit in the last place apart, and far apart in size.
    one = torch.tensor(1.0).nextafter(torch.tensor(2.0))
    weights = torch.cat([torch.full((4000,), 1e-30), torch.tensor([1.0, one, 2e-30])])
    assert isf.draw(weights, 4, "topk").index.tolist() == [4001, 4000, 4002, 0]
    ascending = torch.arange(1.0, 5001.0)
    assert isf.draw(ascending, 5000, "topk").index.tolist() == [*range(4999, -1, -1)]


def test_pps_is_in_ascending_order() -> None:
    for seed in range(20):
        index = isf.draw(torch.rand(300), 100, "pps", seed).index
        assert (index.diff() > 0).all()


@pytest.mark.parametrize("n", [1, 3, 64, 1000, 12345])
def test_systematic_counts_are_within_one_of_their_expectation(n: int) -> None:
    for name in ("flat", "random", "skewed", "half zero", "decades", "huge"):
        f = reference.fixed_point(WEIGHTS[name].tolist())
        total = sum(f)
        for seed in range(20):
            index = isf.draw(WEIGHTS[name], n, "systematic", seed).index
            counts = index.bincount(minlength=len(f)).tolist()
            for count, f_i in zip(counts, f, strict=True):
                assert n * f_i // total <= count <= -(-n * f_i // total)


@pytest.mark.parametrize("n", [1, 3, 64, 1000])
def test_stratified_draws_lie_in_their_strata(n: int) -> None:
    for name in ("flat", "random", "skewed", "half zero", "decades", "huge"):
        f = reference.fixed_point(WEIGHTS[name].tolist())
        total, ends, end = sum(f), [], 0
        for f_i in f:
            end += f_i
            ends.append(end)
        for seed in range(20):
            for i, row in enumerate(isf.draw(WEIGHTS[name], n, "stratified", seed).index.tolist()):
                low, high = i * total // n, (i + 1) * total // n
                assert ends[row] > low
                assert ends[row] - f[row] < high


def test_pps_probabilities_are_proportional_with_a_cap() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0, 50.0, 0.5], dtype=torch.float64)
    # 100 and 50 are certain; three draws among a sum of 10.5: 4 has 12/10.5 and is certain too.
    expected = torch.tensor([2, 4, 6, 6.5, 6.5, 6.5, 1], dtype=torch.float64) / 6.5
    for seed in range(20):
        drawn = isf.draw(weights, 5, "pps", seed)
        torch.testing.assert_close(drawn.prob, expected[drawn.index], rtol=1e-12, atol=0.0)


def test_a_small_weight_beside_a_large_one_can_be_drawn() -> None:
    """Seed 117390 has a first number so small that the first systematic point is in row 0."""
    weights = torch.tensor([1.0, 1e12])
    drawn = isf.draw(weights, 10**6, "systematic", seed=117390)
    assert drawn.index[0] == 0
    assert drawn.prob[0].item() == pytest.approx(1e-12, rel=1e-6)
    assert (drawn.index[1:] == 1).all()
    assert (isf.draw(weights, 10**6, "systematic", seed=117389).index == 1).all()
    assert isf.draw(weights, 2, "pps", seed=0).index.tolist() == [0, 1]


@pytest.mark.parametrize("method", METHODS)
def test_leading_random_numbers_decide(method: str) -> None:
    """The i-th draw uses the i-th random number: a shorter draw is the start of a longer one."""
    weights = torch.rand(500)
    long, short = isf.draw(weights, 200, method, 9), isf.draw(weights, 50, method, 9)
    if method in ("multinomial", "race", "topk"):
        assert torch.equal(long.index[:50], short.index)
    else:
        assert not torch.equal(long.index[:50], short.index)
