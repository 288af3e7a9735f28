"""Pictures that are committed: few colours, and no word of what made them but a stamp."""

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

COLOURS = 256
STAMP = "Source"  # the digest of what a picture was drawn from


def write(figure: Figure, path: Path, stamp: str = "") -> None:
    figure.savefig(path, metadata={"Software": None})
    shrink(path, stamp)


def shrink(path: Path, stamp: str = "") -> None:
    """A picture of any colours as one of a palette, in which rare colours are kept too."""
    told = PngInfo()
    if stamp:
        told.add_text(STAMP, stamp)
    with Image.open(path) as picture:
        cover = Image.Quantize.MAXCOVERAGE
        few = picture.convert("RGB").quantize(COLOURS, cover, kmeans=1)
        few.save(path, optimize=True, pnginfo=told)
