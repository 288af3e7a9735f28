"""The row kernels of CUDA, run on the host: every mapping of rows to threads, dtype and layout.

How a row is mapped depends on its classes, on the rows and on the multiprocessors: lanes of a warp
share it, or a warp, or a block, or several blocks (csrc/cuda/row_stats.cu).
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests import reference
from tests.cuda.shim_device import ShimDevice
from tests.dtypes import DTYPES
from tests.exact import assert_relative
from tests.ops.test_row_stats import LAYOUTS, TOLERANCE, laid_out_probabilities
from tests.shim.device import STATISTICS, result_type

# Lanes of a warp, from 1 to 32, with and without lanes to spare; a warp; a block.
CLASSES = [1, 2, 8, 9, 17, 33, 65, 127, 256, 257, 1029, 4500]
EVERY_TARGET = ["loss", "grad_norm", "p_true", "margin", "entropy"]


@pytest.fixture
def one_multiprocessor(one_order: ShimDevice) -> Iterator[ShimDevice]:
    """So few that lanes take several rows in turn."""
    one_order.multiprocessors = 1
    yield one_order
    one_order.multiprocessors = 8


@pytest.fixture
def many_multiprocessors(one_order: ShimDevice) -> Iterator[ShimDevice]:
    """So many that several blocks share a row."""
    one_order.multiprocessors = 132
    yield one_order
    one_order.multiprocessors = 8


@pytest.fixture(params=[1, 3], ids=["shift 1", "shift 3"])
def shifted(request: pytest.FixtureRequest, one_order: ShimDevice) -> Iterator[ShimDevice]:
    """Every buffer begins that many elements behind a multiple of 16 bytes."""
    one_order.shift = request.param
    yield one_order
    one_order.shift = 0


def assert_like_reference(
    shim: ShimDevice, logits: Tensor, target: Tensor, **options: object
) -> None:
    actual = shim.row_statistics(logits, target, **options)  # type: ignore[arg-type]
    truth = reference.row_stats(logits, target, **options)  # type: ignore[arg-type]
    tolerance = TOLERANCE[result_type(logits)]
    hard = not target.is_floating_point()
    ignored = target == options.get("ignore_index", -100) if hard else torch.zeros(len(logits)) > 0
    expected = truth._asdict()
    expected["p_wrong"] = (1 - truth.p_true).masked_fill(ignored, 0.0)
    if not hard:
        expected["p_wrong"] += target.double().sum(-1) - 1
        p = logits.double().softmax(-1)
        expected["p_wrong"] = (p * (1 - target.double())).sum(-1)
    expected["margin_lack"] = (1 - truth.margin).masked_fill(ignored, 0.0)
    for name in STATISTICS:
        torch.testing.assert_close(
            actual[name].double(),
            expected[name],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", CLASSES)
def test_every_mapping(shim: ShimDevice, classes: int, dtype: torch.dtype) -> None:
    for rows in (1, 9) if classes > 1000 else (1, 37):
        logits = (3 * torch.randn(rows, classes)).to(dtype)
        assert_like_reference(shim, logits, torch.randint(classes, (rows,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 12, 30, 70])
def test_lanes_take_several_rows_in_turn(
    one_multiprocessor: ShimDevice, classes: int, dtype: torch.dtype
) -> None:
    logits = 3 * torch.randn(2051, classes, dtype=dtype)
    target = torch.randint(classes, (2051,))
    target[::7] = -100
    assert_like_reference(one_multiprocessor, logits, target)


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_blocks_share_a_row(many_multiprocessors: ShimDevice, dtype: torch.dtype) -> None:
    classes = 20_011
    logits = (3 * torch.randn(3, classes)).to(dtype)
    logits[2, :15_000] = -torch.inf  # whole slices have no class
    for target in ([0, 16_383, 16_384], [classes - 1, 5000, 7]):
        assert_like_reference(many_multiprocessors, logits, torch.tensor(target))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(33, 2), (20, 10), (9, 130), (5, 700)])
def test_any_strides(
    shifted: ShimDevice, layout: str, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    logits = LAYOUTS[layout]((3 * torch.randn(shape)).to(dtype))
    target = torch.randint(shape[1], (shape[0],))
    assert_like_reference(shifted, logits, target)
    assert_like_reference(shifted, logits, target.int().repeat_interleave(2)[::2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_place_of_the_target(one_order: ShimDevice, dtype: torch.dtype) -> None:
    """The target's class is kept out of the sums wherever it is loaded."""
    classes = 300
    logits = torch.randn(1, classes).to(dtype).expand(classes, classes).clone()
    logits.fill_diagonal_(30.0)
    target = torch.arange(classes)
    stats, truth = one_order.row_statistics(logits, target), reference.row_stats(logits, target)
    tolerance = TOLERANCE[result_type(logits)]
    for name in ("loss", "grad_norm"):
        assert_relative(stats[name], getattr(truth, name), tolerance, name)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("soft", [False, True])
def test_what_is_asked_for_alone(one_order: ShimDevice, name: str, soft: bool) -> None:
    for classes in (5, 300):
        logits, target = torch.randn(7, classes), torch.randint(classes, (7,))
        options = {"label_smoothing": 0.1 if soft else 0.0}
        alone = one_order.row_statistics(logits, target, [name], **options)
        together = one_order.row_statistics(logits, target, **options)
        assert list(alone) == [name]
        assert torch.equal(alone[name], together[name])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 5, 40, 300, 1100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_soft_targets(
    shim: ShimDevice, dtype: torch.dtype, classes: int, label_smoothing: float
) -> None:
    rows = 5
    logits = (3 * torch.randn(rows, classes)).to(dtype)
    weight = torch.rand(classes, dtype=result_type(logits))
    probability = torch.rand(rows, classes, dtype=result_type(logits)).softmax(-1)
    target = torch.randint(classes, (rows,))
    target[1] = -100
    options: dict[str, object] = {"label_smoothing": label_smoothing}
    assert_like_reference(shim, logits, target, **options)
    assert_like_reference(shim, logits, probability, **options)
    options["class_weight"] = weight
    assert_like_reference(shim, logits, target, **options)
    assert_like_reference(shim, logits, probability, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_soft_targets_of_any_strides(shifted: ShimDevice, layout: str) -> None:
    for shape in ((33, 3), (5, 130)):
        logits = LAYOUTS[layout](3 * torch.randn(shape))
        assert_like_reference(shifted, logits, laid_out_probabilities(layout, shape))


def test_probabilities_that_do_not_sum_to_one_are_faulty(one_order: ShimDevice) -> None:
    for classes in (3, 40, 1500):
        logits, target = torch.randn(9, classes), torch.randn(9, classes).softmax(-1)
        target[2], target[4], target[7, 1] = 1.0, 0.0, 1.0
        stats = one_order.row_statistics(logits, target)
        for name in STATISTICS:
            assert stats[name].isnan().nonzero().flatten().tolist() == [2, 4, 7], name
        assert int(one_order.select(logits, target, 2).status) == 1 + 2


def test_without_ignore_index_no_row_is_ignored(one_order: ShimDevice) -> None:
    for classes in (3, 40, 300):
        logits, target = torch.randn(9, classes), torch.randint(classes, (9,))
        target[[0, 5]] = -100
        for options in ({}, {"label_smoothing": 0.1}):
            stats = one_order.row_statistics(logits, target, ignore_index=None, **options)
            for name in STATISTICS:
                assert stats[name].isnan().nonzero().flatten().tolist() == [0, 5], name
            selection = one_order.select(logits, target, 2, ignore_index=None, **options)
            assert int(selection.status) == 1


def test_ignored_rows_are_zero_and_not_read(one_order: ShimDevice) -> None:
    for classes in (2, 40, 300):
        logits, target = torch.randn(40, classes), torch.randint(classes, (40,))
        target[::3] = 10**6
        logits[::3] = torch.nan
        for options in ({}, {"label_smoothing": 0.2}, {"class_weight": torch.rand(classes)}):
            stats = one_order.row_statistics(logits, target, ignore_index=10**6, **options)
            for name in STATISTICS:
                assert (stats[name][::3] == 0).all()
                assert not stats[name].isnan().any()


def test_masked_classes(one_order: ShimDevice) -> None:
    for classes in (40, 400):
        logits = torch.randn(6, classes)
        logits[:, ::3] = -torch.inf
        logits[4, 1:] = -torch.inf
        logits[4, 0] = 3.0
        logits[5] = -torch.inf
        logits[5, 39] = -2.0
        target = torch.tensor([1, 2, 4, 3, 0, 39])  # class 3 is masked in row 3
        assert_like_reference(one_order, logits, target)
        stats = one_order.row_statistics(logits, target)
        assert stats["loss"][3] == torch.inf
        assert stats["p_true"][3] == 0
        assert stats["loss"][4:].tolist() == [0.0, 0.0]
    logits = torch.tensor([[0.0, 1.0, -torch.inf]])
    assert_like_reference(one_order, logits, torch.tensor([[0.25, 0.75, 0.0]]))
    smoothed = one_order.row_statistics(logits, torch.tensor([1]), label_smoothing=0.1)
    assert smoothed["loss"].item() == torch.inf


FAULTS = {"NaN": torch.nan, "infinite": torch.inf, "masked": -torch.inf, "target": 0.0}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("classes", [1, 2, 40, 300, 20_000])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_faulty_row_is_nan_and_no_other(
    many_multiprocessors: ShimDevice, fault: str, classes: int, label_smoothing: float
) -> None:
    rows = 9 if classes < 1000 else 3
    logits, target = torch.randn(rows, classes), torch.randint(classes, (rows,))
    faulty = torch.zeros(rows, dtype=torch.bool)
    faulty[1], faulty[rows - 1] = True, True
    if fault == "target":
        target[1], target[rows - 1] = classes, -1
    elif fault == "masked":
        logits[faulty] = -torch.inf
    else:
        logits[1, classes - 1] = FAULTS[fault]
        logits[rows - 1, target[rows - 1]] = FAULTS[fault]
    stats = many_multiprocessors.row_statistics(logits, target, label_smoothing=label_smoothing)
    for name in STATISTICS:
        assert torch.equal(stats[name].isnan(), faulty), name


@pytest.mark.parametrize("value", [-1.0, torch.nan, torch.inf])
def test_faulty_probabilities_and_class_weights(one_order: ShimDevice, value: float) -> None:
    logits, probability = torch.randn(4, 5), torch.rand(4, 5).softmax(-1)
    probability[2, 3] = value
    faulty = torch.tensor([False, False, True, False])
    stats = one_order.row_statistics(logits, probability)
    assert all(torch.equal(stats[name].isnan(), faulty) for name in STATISTICS)

    weight = torch.rand(5)
    weight[3] = value
    stats = one_order.row_statistics(logits, torch.tensor([0, 1, 3, 2]), class_weight=weight)
    assert all(torch.equal(stats[name].isnan(), faulty) for name in STATISTICS)
    stats = one_order.row_statistics(
        logits, torch.tensor([0, 1, 3, 2]), class_weight=weight, label_smoothing=0.1
    )
    assert all(stats[name].isnan().all() for name in STATISTICS)


@pytest.mark.parametrize("classes", [2, 40, 300])
def test_hard_targets_with_class_weights(one_order: ShimDevice, classes: int) -> None:
    logits, target = torch.randn(9, classes), torch.randint(classes, (9,))
    assert_like_reference(one_order, logits, target, class_weight=torch.rand(classes))


@pytest.mark.parametrize("rows", [0, 1, 70])
def test_number_of_rows(one_order: ShimDevice, rows: int) -> None:
    for classes in (3, 300):
        stats = one_order.row_statistics(torch.randn(rows, classes), torch.zeros(rows).long())
        assert all(len(value) == rows for value in stats.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [0, 1, 7, 130, 1033])
def test_last_layer(shim: ShimDevice, dtype: torch.dtype, width: int) -> None:
    for shift in (0, 1):
        shim.shift = shift
        features = torch.randn(9, width + 2).to(dtype)[:, 1 : width + 1]
        for score_dtype in shim.reals:
            score = torch.rand(9, dtype=score_dtype)
            truth = score.double() * (1 + features.double().square().sum(-1)).sqrt()
            actual = shim.last_layer(features, score)
            exact = score_dtype == dtype == torch.float64
            assert_relative(actual, truth, 1e-13 if exact else 1e-6, "last layer")
    shim.shift = 0


def test_last_layer_beyond_the_range_of_squares(one_order: ShimDevice) -> None:
    features, score = torch.full((3, 40), 1e20), torch.tensor([1e-3, 0.0, 2.0])
    actual = one_order.last_layer(features, score)
    assert_relative(actual, score.double() * 1e20 * 40**0.5, 1e-6, "large features")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_must_be_finite_except_of_ignored_rows(
    one_order: ShimDevice, value: float
) -> None:
    features, score = torch.randn(4, 50), torch.tensor([1.0, 0.0, 1.0, 1.0])
    features[1:3, 49] = value
    actual = one_order.last_layer(features, score)
    assert actual.isnan().tolist() == [False, False, True, False]
    assert actual[1] == 0
