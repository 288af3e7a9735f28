"""Pictures that are committed: few colours, and no word of what made them."""

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

COLOURS = 256


def write(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})
    shrink(path)


def shrink(path: Path) -> None:
    """A picture of any colours as one of a palette, in which rare colours are kept too."""
    with Image.open(path) as picture:
        cover = Image.Quantize.MAXCOVERAGE
        picture.convert("RGB").quantize(COLOURS, cover, kmeans=1).save(path, optimize=True)
