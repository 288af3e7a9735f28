"""Decision maps lie as their points do, and are white where nothing is decided."""

import pytest
import torch
from matplotlib.colors import to_rgb
from torch import nn

from impsamp_fast import MiniBatch, plot

POINTS, CLASSES = torch.tensor([[0.0, 0.0], [0.5, 1.0]]), torch.tensor([0, 1])


def test_rows_are_the_second_input_from_the_bottom() -> None:
    seen = plot.decision_map(lambda points: points * 100, (0, 4, -3, -1), cells=2)
    # Centres: x 1 and 3, y -2.5 and -1.5; the larger of the two inputs is the first one.
    assert seen.shape == (2, 2, 2)
    assert torch.equal(seen[..., 0], torch.ones(2, 2))
    seen = plot.decision_map(lambda points: 100 * points * torch.tensor([0.0, 1.0]), cells=2)
    assert torch.equal(seen[..., 1].round(), torch.tensor([[0.0, 0.0], [1.0, 1.0]]))


def test_the_model_is_called_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout())
    assert torch.equal(plot.decision_map(model), plot.decision_map(model))
    assert model.training
    with pytest.raises(ValueError, match=r"returned \[25600\] of 25600 points"):
        plot.decision_map(lambda points: points[:, 0])


def test_a_map_is_white_where_classes_are_equally_likely() -> None:
    decision = torch.tensor([[[0.5, 0.5], [1.0, 0.0]]])
    white, blue = plot.pick_map(decision, (POINTS, CLASSES)).axes[0].images[0].get_array()[0]
    assert white.tolist() == [1, 1, 1]
    expected = 1 - 0.3 * (1 - torch.tensor(to_rgb("#0072B2")))
    torch.testing.assert_close(torch.tensor(blue), expected)


@pytest.mark.parametrize("C", [2, 20])
def test_points_have_the_colours_of_their_classes(C: int) -> None:
    index = torch.arange(2)
    batch = MiniBatch(POINTS, CLASSES, torch.ones(2), index, importance=True)
    decision = torch.full((4, 4, C), 1 / C)
    for picks in (batch, (POINTS.numpy(), CLASSES.numpy())):
        scatter = plot.pick_map(decision, picks, (-1, 1, -1, 2)).axes[0].collections[0]
        assert scatter.get_offsets().tolist() == POINTS.tolist()
        colours = [tuple(colour[:3]) for colour in scatter.get_facecolors()]
        torch.testing.assert_close(colours, [to_rgb("#0072B2"), to_rgb("#D55E00")])


def test_what_are_no_points_is_told() -> None:
    with pytest.raises(ValueError, match=r"points \[2\]"):
        plot.pick_map(torch.rand(4, 4, 2), (torch.zeros(2), CLASSES))
    with pytest.raises(ValueError, match=r"decision has shape \[4, 4\]"):
        plot.pick_map(torch.rand(4, 4), (POINTS, CLASSES))
