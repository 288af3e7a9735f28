"""What row_stats accepts and means; tests/ops/test_accuracy.py measures how precise it is."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import impsamp_fast as isf
from tests import reference
from tests.devices import assert_same
from tests.dtypes import DTYPES
from tests.exact import assert_relative

pytestmark = pytest.mark.usefixtures("carried_operators")

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
FIELDS = isf.RowStats._fields


def assert_like_reference(logits: Tensor, target: Tensor, **options: object) -> None:
    actual = isf.row_stats(logits, target, **options)
    truth = reference.row_stats(logits, target, **options)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    for name in FIELDS:
        value, expected = getattr(actual, name), getattr(truth, name)
        assert value.dtype == dtype
        assert value.shape == logits.shape[:-1]
        tolerance = TOLERANCE[dtype]
        torch.testing.assert_close(
            value.double(), expected, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [*range(1, 71), 127, 128, 129, 1000, 5000])
def test_every_number_of_classes(classes: int, dtype: torch.dtype) -> None:
    """Every remainder of the vector length, in classes and in rows."""
    for rows in (1, 7, 16, 37):
        logits = (3 * torch.randn(rows, classes)).to(dtype)
        assert_like_reference(logits, torch.randint(classes, (rows,)))


def test_many_rows() -> None:
    for classes in (2, 3, 10, 100):
        for rows in (1023, 1024, 4099):
            logits = 3 * torch.randn(rows, classes)
            assert_like_reference(logits, torch.randint(classes, (rows,)))


def test_by_hand() -> None:
    third, half = 1 / 3, 1 / 2
    stats = isf.row_stats(torch.zeros(1, 3), torch.tensor([1]))
    by_hand = [1.0986123, (2 / 3 * third + 4 / 9) ** half, third, 0.0, 1.0986123]
    torch.testing.assert_close(torch.cat(stats), torch.tensor(by_hand))
    confident = isf.row_stats(torch.tensor([[20.0, 0.0, 0.0]]), torch.tensor([0]))
    assert confident.loss.item() == pytest.approx(4.1223072e-09, rel=2e-6)
    assert confident.grad_norm.item() == pytest.approx(5.0487756e-09, rel=2e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_class(dtype: torch.dtype) -> None:
    stats = isf.row_stats(torch.randn(5, 1).to(dtype), torch.zeros(5, dtype=torch.long))
    for name, expected in zip(FIELDS, (0.0, 0.0, 1.0, 1.0, 0.0), strict=True):
        assert getattr(stats, name).tolist() == [expected] * 5, name


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rows(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    stats = isf.row_stats(torch.zeros(shape, dtype=dtype), torch.zeros(shape[:-1]).long())
    assert all(value.shape == shape[:-1] for value in stats)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3, 2)])
def test_leading_dimensions_are_rows(leading: tuple[int, ...]) -> None:
    logits, target = torch.randn(*leading, 5), torch.randint(5, leading)
    assert_like_reference(logits, target)
    assert_like_reference(logits, torch.rand(*leading, 5).softmax(-1))


def _offset(x: Tensor) -> Tensor:
    """The same values one element into their storage, so that no vector is aligned."""
    return torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.t().contiguous().t(),
    "unaligned": _offset,
    "every second column": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "every third row": lambda x: x.repeat_interleave(3, 0)[::3],
    "middle of a wider matrix": lambda x: F.pad(x, (3, 2))[:, 3:-2],
    "same row repeated": lambda x: x[:1].expand_as(x),
    "same column repeated": lambda x: x[:, :1].expand_as(x),
    "overlapping rows": lambda x: x.flatten().as_strided(x.shape, (1, 1)),
}


def laid_out_probabilities(layout: str, shape: tuple[int, int]) -> Tensor:
    """Rows that sum to 1; equal entries where the layout shares memory among them."""
    probabilities = LAYOUTS[layout](torch.randn(shape).softmax(-1))
    if torch.allclose(probabilities.sum(-1), torch.ones(())):
        return probabilities
    return LAYOUTS[layout](torch.full(shape, 1 / shape[1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(33, 2), (20, 10), (9, 130)])
def test_any_strides(layout: str, dtype: torch.dtype, shape: tuple[int, int]) -> None:
    logits = LAYOUTS[layout]((3 * torch.randn(shape)).to(dtype))
    target = torch.randint(shape[1], (shape[0],))
    assert_like_reference(logits, target)
    assert_like_reference(logits, target.repeat_interleave(2)[::2])
    assert_like_reference(logits, target[:1].expand(shape[0]))
    assert_like_reference(logits, laid_out_probabilities(layout, shape).to(dtype))


def test_strided_leading_dimensions() -> None:
    images = torch.randn(2, 5, 4, 3)  # [N, C, H, W] as cross_entropy takes it
    target = torch.randint(5, (2, 4, 3))
    assert_like_reference(images.movedim(1, -1), target)
    assert_like_reference(images.movedim(1, -1).transpose(0, 2), target.transpose(0, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 10, 100, 1003])
def test_half_precision_is_float32_of_it(
    dtype: torch.dtype, classes: int, device: torch.device
) -> None:
    logits = (5 * torch.randn(300, classes)).to(dtype)
    target = torch.randint(classes, (300,))
    half, full = isf.row_stats(logits, target), isf.row_stats(logits.float(), target)
    for name in FIELDS:
        assert_same(getattr(half, name), getattr(full, name), device, name)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8])
def test_narrow_class_indices(dtype: torch.dtype) -> None:
    logits, target = torch.randn(50, 7), torch.randint(7, (50,))
    target[3] = -100
    wide, narrow = isf.row_stats(logits, target), isf.row_stats(logits, target.to(dtype))
    assert all(map(torch.equal, wide, narrow))


def test_class_indices_of_bytes() -> None:
    logits, target = torch.randn(50, 7), torch.randint(7, (50,))
    target[3] = 255
    wide = isf.row_stats(logits, target, ignore_index=255)
    narrow = isf.row_stats(logits, target.byte(), ignore_index=255)
    assert all(map(torch.equal, wide, narrow))
    loss = F.cross_entropy(logits, target.byte(), ignore_index=255, reduction="none")
    torch.testing.assert_close(narrow.loss, loss)


def test_without_ignore_index_every_class_index_counts() -> None:
    logits, target = torch.randn(8, 5), torch.arange(8) % 5
    for options in ({}, {"label_smoothing": 0.1}):
        every = isf.row_stats(logits, target, ignore_index=None, **options)
        assert all(map(torch.equal, every, isf.row_stats(logits, target, **options)))
        for row, number in ((0, -100), (7, -(2**63))):
            wrong = target.clone()
            wrong[row] = number
            with pytest.raises(IndexError, match=rf"target\[{row}\] is {number}"):
                isf.row_stats(logits, wrong, ignore_index=None, **options)
            with pytest.raises(IndexError, match=rf"target\[{row}\] is {number}"):
                isf.select(logits, wrong, 2, ignore_index=None, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [1, 2, 5, 40, 300])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_options_are_those_of_cross_entropy(
    dtype: torch.dtype, classes: int, label_smoothing: float, weighted: bool, hard: bool
) -> None:
    logits = (2 * torch.randn(61, classes)).to(dtype)
    weight = torch.rand(classes).to(dtype) if weighted else None
    target = torch.randint(classes, (61,)) if hard else torch.randn(61, classes).softmax(-1)
    if hard:
        target[::5] = -100
    target = target if hard else target.to(dtype)
    assert_like_reference(logits, target, label_smoothing=label_smoothing, class_weight=weight)

    z = logits.double().requires_grad_()
    loss = F.cross_entropy(
        z,
        target if hard else target.double(),
        None if weight is None else weight.double(),
        reduction="none",
        label_smoothing=label_smoothing,
    )
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    stats = isf.row_stats(logits, target, label_smoothing=label_smoothing, class_weight=weight)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(stats.loss.double(), loss.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        stats.grad_norm.double(), gradient.norm(dim=-1), rtol=tolerance, atol=tolerance
    )


def test_hard_targets_as_probabilities() -> None:
    logits, target = 4 * torch.randn(64, 9), torch.randint(9, (64,))
    hard = isf.row_stats(logits, target)
    soft = isf.row_stats(logits, F.one_hot(target, 9).float())
    for name in ("loss", "grad_norm", "p_true", "entropy"):
        assert_relative(getattr(soft, name), getattr(hard, name), 4e-6, name)
    torch.testing.assert_close(soft.margin, hard.margin, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("ignore_index", [-100, -1, 2, 10**6])
def test_ignored_rows_are_zero(ignore_index: int) -> None:
    logits, target = torch.randn(40, 5), torch.randint(5, (40,))
    target[::3] = ignore_index
    ignored = target == ignore_index
    for options in ({}, {"label_smoothing": 0.2}, {"class_weight": torch.rand(5)}):
        stats = isf.row_stats(logits, target, ignore_index=ignore_index, **options)
        assert all((value[ignored] == 0).all() for value in stats)
        assert (stats.loss[~ignored] > 0).all()
        assert_like_reference(logits, target, ignore_index=ignore_index, **options)


def test_masked_classes() -> None:
    """A class with logit -inf has probability 0; a target on it has an infinite loss."""
    logits = torch.randn(6, 40)
    logits[:, ::3] = -torch.inf
    logits[4, 1:] = -torch.inf
    logits[4, 0] = 3.0
    logits[5] = -torch.inf
    logits[5, 39] = -2.0
    target = torch.tensor([1, 2, 4, 3, 0, 39])  # class 3 is masked in row 3
    assert_like_reference(logits, target)
    stats = isf.row_stats(logits, target)
    assert stats.loss[3] == torch.inf
    assert stats.p_true[3] == 0
    assert stats.grad_norm[3].isfinite()
    assert stats.loss[4:].tolist() == [0.0, 0.0]


def test_masked_class_without_weight_costs_nothing() -> None:
    """0 * inf = 0, for target probabilities and for class weights."""
    logits = torch.tensor([[0.0, 1.0, -torch.inf]])
    target = torch.tensor([[0.25, 0.75, 0.0]])
    assert_like_reference(logits, target)
    assert isf.row_stats(logits, target).loss.isfinite().all()
    weight = torch.tensor([1.0, 2.0, 0.0])
    assert_like_reference(logits, target, label_smoothing=0.1, class_weight=weight)
    smoothed = isf.row_stats(logits, target, label_smoothing=0.1)
    assert smoothed.loss.item() == torch.inf


@pytest.mark.parametrize("classes", [1, 2, 5, 16, 100, 1000])
def test_a_row_does_not_see_its_neighbours(classes: int, device: torch.device) -> None:
    logits, target = 5 * torch.randn(67, classes), torch.randint(classes, (67,))
    together = isf.row_stats(logits, target)
    for i in range(67):
        alone = isf.row_stats(logits[i], target[i])
        for name in FIELDS:
            assert_same(
                getattr(together, name)[i], getattr(alone, name), device, f"{name}, row {i}"
            )


@pytest.mark.parametrize("shape", [(20_000, 2), (5_000, 10), (3_000, 300), (3, 200_000)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_change_nothing(shape: tuple[int, int], dtype: torch.dtype) -> None:
    logits = (5 * torch.randn(shape)).to(dtype)
    target = torch.randint(shape[1], shape[:1])
    results = []
    for threads in (1, 2, 8):
        torch.set_num_threads(threads)
        results.append(isf.row_stats(logits, target))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_gradients_are_not_tracked() -> None:
    """Scores choose rows; nothing is differentiated through the choice."""
    logits, target = (
        torch.randn(4, 3, requires_grad=True),
        torch.rand(4, 3).softmax(-1).requires_grad_(),
    )
    weight = torch.rand(3, requires_grad=True)
    stats = isf.row_stats(logits, target, class_weight=weight)
    assert not any(value.requires_grad for value in stats)
