"""The data and the network of Two Circles."""

import math

import pytest
import torch

from bench.tasks import two_circles


def test_two_circles_classes_have_equal_area_and_data_repeat() -> None:
    assert 2 * math.pi * two_circles.RADIUS**2 == pytest.approx(2.0)  # half of the square's 4
    (x1, y1), (x2, y2) = two_circles.CENTRES
    assert math.hypot(x1 - x2, y1 - y2) > 2 * two_circles.RADIUS  # they do not overlap
    assert all(abs(c) + two_circles.RADIUS < 1 for c in (x1, y1, x2, y2))

    count = 1 << 20
    points, classes = two_circles.sample(count, seed=3)
    assert points.abs().max() <= 1
    # Binomial: beyond five standard deviations once in 1.7 million seeds; this one is fixed.
    assert abs(classes.sum().item() - count / 2) < 5 * math.sqrt(count) / 2
    again, _ = two_circles.sample(count, seed=3)
    assert torch.equal(points, again)
    corners = torch.tensor([[0.4, 0.4], [-0.4, -0.4], [0.4, -0.4], [0.99, 0.99]])
    assert two_circles.label(corners).tolist() == [1, 1, 0, 0]
