"""Pictures that are committed: few colours, and no word of what made them."""

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

COLOURS = 256


def write(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    shrink(path)


def shrink(path: Path) -> None:
    """A picture of any colours as one of a palette."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
