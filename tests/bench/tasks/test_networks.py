"""The further networks, and pictures as they are trained on."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.tasks.augmentation import MARGIN, crop_and_flip
from bench.tasks.networks import fcnet, lenet, resnet18


@pytest.mark.parametrize(
    ("network", "channels", "side", "weights"),
    [
        (lambda *of: fcnet(100, *of), 1, 28, 79_510),
        (lambda *of: fcnet(3000, *of), 3, 32, 3073 * 3000 + 3001 * 10),
        (lenet, 1, 28, 61_706),
        (lenet, 3, 32, 62_006),
        (resnet18, 3, 32, 11_173_962),
    ],
)
def test_networks_have_as_many_weights(network, channels, side, weights) -> None:
    model: nn.Module = network(channels, side, 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == weights
    assert model(torch.zeros(2, channels, side, side)).shape == (2, 10)


def test_pictures_are_cropped_and_mirrored() -> None:
    side, count = 6, 400
    picture = torch.arange(1.0, 2 * side * side + 1).view(1, 2, side, side)
    seen = crop_and_flip(picture.expand(count, -1, -1, -1), torch.Generator().manual_seed(0))
    padded = F.pad(picture, [MARGIN] * 4)[0]
    span = 2 * MARGIN + 1
    possible = {}
    for top in range(span):
        for left in range(span):
            crop = padded[:, top : top + side, left : left + side]
            possible[tuple(crop.flatten().tolist())] = top, left, False
            possible[tuple(crop.flip(2).flatten().tolist())] = top, left, True
    found = [possible[tuple(one.flatten().tolist())] for one in seen]
    for values, expected in zip(zip(*found, strict=True), (span, span, 2), strict=True):
        assert len(set(values)) == expected
