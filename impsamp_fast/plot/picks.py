"""How often samples were picked: all of them, the extremes, and by class."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from impsamp_fast._checks import check_integer, kind_of
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.plot._figure import FIRST, GREY, SECOND, axes_on, figure_of, new_figure

_MOST_BINS = 64
_MOST_NAMES = 32  # beside each other below an axis
_MARGIN = 1.4  # inches of a grid's figure for its titles


class BySample(Protocol):
    """What has something of each sample: a tensor, an array, a list, a dict."""

    def __getitem__(self, sample: int, /) -> Any: ...


def pick_histogram(picks: PickCounts | Tensor, *, ax: Axes | None = None) -> Figure:
    """How many samples were picked how often, and the mean, which is what uniform sampling aims at.

    Args:
        picks: counts of all samples, [size], integers.
        ax: where to draw.

    Raises:
        TypeError, ValueError: if these are not counts.
    """
    counts, ax = _counts(picks), axes_on(ax)
    width = int(counts.max()) // _MOST_BINS + 1
    samples = torch.bincount(counts // width)
    edges = torch.arange(len(samples) + 1) * width - 0.5
    ax.stairs(samples.tolist(), edges.tolist(), fill=True, color=FIRST)
    ax.axvline(_mean(counts), color=SECOND, linewidth=1.2, label=f"mean {_mean(counts):.3g}")
    ax.set(yscale="log", xlabel="picks", ylabel="samples", title=f"{len(counts):,} samples")
    ax.set_ylim(bottom=0.7)  # so that a single sample is seen
    ax.legend(title=f"never picked: {_never(counts)}", frameon=False)
    return figure_of(ax)


def pick_grid(
    picks: PickCounts | Tensor,
    pictures: BySample | Callable[[int], Any],
    classes: BySample | None = None,
    names: Sequence[str] | None = None,
    *,
    k: int = 20,
    columns: int = 10,
    samples: tuple[Tensor, Tensor] | None = None,
) -> Figure:
    """Pictures of the most picked samples above those of the least picked ones.

    Each is titled "class: picks".

    Args:
        picks: counts of all samples, [size], integers.
        pictures: by the number of a sample its picture: [H, W], [H, W, C] or [C, H, W] with 1 or 3
            channels, of uint8 or of floats in [0, 1].
        classes: by the number of a sample its class.
        names: of the classes, if those are numbers.
        k: pictures of either kind, at least 1.
        columns: pictures beside each other, at least 1.
        samples: the most and the least picked, for another choice among those picked equally often
            than the lower numbers.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """
    counts = _counts(picks)
    columns = check_integer("columns", columns, 1)
    if samples is None:
        k = check_integer("k", k, 1, len(counts))
        samples = (
            counts.argsort(descending=True, stable=True)[:k],
            counts.argsort(stable=True)[:k],
        )
    show = pictures if callable(pictures) else pictures.__getitem__
    rows = -(-max(map(len, samples)) // columns)
    figure = new_figure(0.75 * columns, 2 * 0.85 * rows + _MARGIN)
    titles = ("most picked", f"least picked (never picked: {_never(counts)})")
    for part, title, chosen in zip(_halves(figure), titles, samples, strict=True):
        part.suptitle(title, fontsize=10)
        cells = part.subplots(rows, columns, squeeze=False).flat
        for ax, sample in zip(cells, torch.as_tensor(chosen).tolist(), strict=False):
            picture = _picture(show(sample))
            limit = 255 if picture.dtype == torch.uint8 else 1
            ax.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=limit)
            label = "" if classes is None else f"{_name(classes[sample], names)}: "
            ax.set_title(f"{label}{counts[sample]}", fontsize=7, pad=2)
        for ax in part.axes:
            ax.axis("off")
    return figure


def class_balance(
    picks: PickCounts | Tensor,
    classes: Tensor,
    names: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Each class's share of the picks beside its share of the data set.

    Args:
        picks: counts of all samples, [size], integers.
        classes: of all samples, [size], integers from 0.
        names: of the classes.
        ax: where to draw.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """
    counts, classes, ax = _counts(picks), _integers("classes", classes), axes_on(ax)
    if classes.shape != counts.shape:
        raise ValueError(f"classes has shape {list(classes.shape)}, expected {list(counts.shape)}")
    before = torch.bincount(classes).double() / len(classes)
    picked = torch.bincount(classes, counts.double()) / max(1, int(counts.sum()))
    numbers = range(len(before))
    ax.vlines(numbers, before.tolist(), picked.tolist(), color=GREY, linewidth=1)
    ax.plot(numbers, before.tolist(), "o", color=GREY, markerfacecolor="white", label="data set")
    ax.plot(numbers, picked.tolist(), "o", color=FIRST, label="picks")
    if len(before) <= _MOST_NAMES:
        ax.set_xticks(numbers, [_name(c, names) for c in numbers])
        if names is not None:
            ax.tick_params(axis="x", rotation=45)
    ax.set(xlabel="class", ylabel="share")
    ax.set_ylim(0, 1.1 * float(torch.cat([before, picked]).max()))
    ax.legend(frameon=False)
    return figure_of(ax)


def _counts(picks: Any) -> Tensor:
    """Counts [size] on the CPU."""
    return _integers("picks", picks.counts if isinstance(picks, PickCounts) else picks)


def _integers(name: str, given: Any) -> Tensor:
    """Integers of at least 0, [size], on the CPU."""
    values: Tensor = torch.as_tensor(given).cpu()
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"{name} is {kind_of(values)}, expected integers")
    if values.dim() != 1 or len(values) == 0:
        raise ValueError(f"{name} has shape {list(values.shape)}, expected [size], not empty")
    if values.min() < 0:
        raise ValueError(f"{name} has {int(values.min())}, expected at least 0")
    return values


def _mean(counts: Tensor) -> float:
    return float(counts.sum()) / len(counts)


def _never(counts: Tensor) -> str:
    return f"{100 * (len(counts) - int(counts.count_nonzero())) / len(counts):.3g}%"


def _halves(figure: Figure) -> Sequence[SubFigure]:
    return figure.subfigures(2, 1)  # type: ignore[return-value]


def _name(value: Any, names: Sequence[str] | None) -> str:
    if isinstance(value, Tensor):
        value = value.item()
    if names is not None and value >= len(names):
        raise ValueError(f"names has {len(names)} names, but there is a class {value}")
    return str(value) if names is None else names[value]


def _picture(given: Any) -> Tensor:
    """A picture as [H, W] or [H, W, 3], of uint8 or of floats in [0, 1]."""
    picture: Tensor = torch.as_tensor(given).detach().cpu()
    shape = list(picture.shape)
    if picture.dim() == 3 and shape[2] not in (1, 3):
        picture = picture.movedim(0, 2)
    if picture.dim() == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.dim() != 2 and (picture.dim() != 3 or picture.shape[2] != 3):
        raise ValueError(f"a picture has shape {shape}, expected [H, W], or 1 or 3 channels")
    if picture.dtype == torch.uint8:
        return picture
    if not picture.is_floating_point():
        raise TypeError(f"a picture is {kind_of(picture)}, expected uint8 or floats")
    return picture.float().clamp(0, 1)
