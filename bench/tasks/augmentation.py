"""Pictures as they are trained on: shifted and mirrored at random."""

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 4  # pixels on each side


def crop_and_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture of [B, C, S, S] padded, cropped anywhere to its size, and mirrored or not.

    The margin is 0, the mean of normalised pixels.
    """
    count, _, side, _ = x.shape
    device = x.device
    padded = F.pad(x, [MARGIN] * 4).movedim(1, -1)
    offsets = torch.randint(2 * MARGIN + 1, (2, count, 1), generator=generator, device=device)
    mirrored = torch.randint(2, (count, 1), generator=generator, device=device).bool()
    pixels = torch.arange(side, device=device)
    rows = offsets[0] + pixels
    columns = offsets[1] + torch.where(mirrored, pixels.flip(0), pixels)
    picture = torch.arange(count, device=device)[:, None, None]
    return padded[picture, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
