"""What the figures of picks show, worked out by hand."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from impsamp_fast import PickCounts, plot

COUNTS = torch.tensor([0, 3, 0, 1])


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_a_histogram_has_a_bar_for_each_count() -> None:
    counts = PickCounts(4)
    counts.update(torch.tensor([1, 3, 1, 1]))
    for picks in (counts, COUNTS, COUNTS.numpy()):
        figure = plot.pick_histogram(picks)
        values, edges, _ = figure.axes[0].patches[0].get_data()
        assert values.tolist() == [2, 1, 0, 1]
        assert edges.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]
        assert {"mean 1", "never picked: 50%"} <= set(texts(figure))


def test_large_counts_share_bars() -> None:
    values, edges, _ = (
        plot.pick_histogram(torch.tensor([0, 640, 10**9])).axes[0].patches[0].get_data()
    )
    assert values.sum() == 3
    assert len(values) <= 64
    assert edges[-1] >= 10**9


@pytest.mark.parametrize(
    ("picks", "error", "words"),
    [
        (torch.tensor([0.5]), TypeError, "picks is a tensor of torch.float32"),
        (torch.tensor([[1]]), ValueError, r"picks has shape \[1, 1\]"),
        (torch.tensor([], dtype=torch.int64), ValueError, "not empty"),
        (torch.tensor([1, -1]), ValueError, "picks has -1"),
    ],
)
def test_what_are_no_counts_is_told(
    picks: torch.Tensor, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        plot.pick_histogram(picks)


def shown(figure: Figure) -> list[tuple[str, np.ndarray]]:
    """Titles and pictures, the most picked ones first."""
    halves = figure.subfigs
    return [
        (ax.get_title(), ax.images[0].get_array())
        for half in halves
        for ax in half.axes
        if ax.images
    ]


def test_a_grid_has_the_most_picked_above_the_least_picked() -> None:
    pictures = torch.arange(4, dtype=torch.uint8)[:, None, None].expand(4, 2, 2)
    classes = torch.tensor([0, 1, 1, 0])
    expected = [("b: 3", 1), ("a: 1", 3), ("a: 0", 0), ("b: 0", 2)]
    for source in (pictures, pictures.numpy(), lambda i: pictures[i]):
        figure = plot.pick_grid(COUNTS, source, classes, ["a", "b"], k=2, columns=3)
        assert [(title, int(array[0, 0])) for title, array in shown(figure)] == expected
        assert {"most picked", "least picked (never picked: 50%)"} <= set(texts(figure))


def test_a_grid_of_given_samples_needs_their_pictures_alone() -> None:
    samples = (torch.tensor([3]), torch.tensor([2]))
    pictures = {3: torch.zeros(2, 2), 2: torch.ones(2, 2)}
    figure = plot.pick_grid(COUNTS, pictures, {3: "cat", 2: "dog"}, samples=samples)
    assert [title for title, _ in shown(figure)] == ["cat: 1", "dog: 0"]


@pytest.mark.parametrize("shape", [(5, 4), (1, 5, 4), (5, 4, 1), (3, 5, 4), (5, 4, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_pictures_may_have_channels_first_or_last(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    picture = torch.ones(shape, dtype=dtype)
    figure = plot.pick_grid(COUNTS, lambda _: picture, k=1)
    (_, array), _ = shown(figure)
    assert array.shape == ((5, 4, 3) if 3 in shape else (5, 4))


@pytest.mark.parametrize("picture", [torch.zeros(4), torch.zeros(2, 5, 4), torch.ones(5, 4).int()])
def test_what_is_no_picture_is_told(picture: torch.Tensor) -> None:
    with pytest.raises((TypeError, ValueError), match="a picture"):
        plot.pick_grid(COUNTS, lambda _: picture, k=1)


def test_the_shares_of_classes_are_of_picks_and_of_samples() -> None:
    figure = plot.class_balance(COUNTS, torch.tensor([0, 1, 1, 1]), ["a", "b"])
    data_set, picks = (line.get_ydata() for line in figure.axes[0].lines)
    assert list(data_set) == [0.25, 0.75]
    assert list(picks) == [0.0, 1.0]
    with pytest.raises(ValueError, match=r"classes has shape \[2\], expected \[4\]"):
        plot.class_balance(COUNTS, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="classes has -1"):
        plot.class_balance(COUNTS, torch.tensor([0, 1, -1, 0]))
    with pytest.raises(ValueError, match="names has 1 names, but there is a class 1"):
        plot.class_balance(COUNTS, torch.tensor([0, 1, 1, 1]), ["a"])
