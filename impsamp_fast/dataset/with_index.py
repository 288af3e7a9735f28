"""A data set that tells which of its samples is which."""

from collections import namedtuple
from collections.abc import Mapping
from functools import cache
from typing import Any, SupportsIndex, final

from torch.utils.data import Dataset, IterableDataset


@final
class WithIndex(Dataset[Any]):
    """Hands out each sample of a data set together with its number.

    A sample that is a tuple or list (x, y) becomes the tuple (x, y, index), a named tuple gets a
    field ``index``, a mapping the key ``"index"``, and anything else becomes (sample, index). A
    loader makes an int64 tensor [n] of the numbers, which is what samplers and a ``Selector`` take
    as ``index``. All other attributes are those of the data set, to read and to set.

    A named tuple with an index is of another type, with the same name and without the methods that
    its class may have besides the fields.

    Args:
        dataset: any map-style data set with a length.

    Attributes:
        dataset: as it was given.

    Raises:
        TypeError: if ``dataset`` is iterable-style: its samples have no numbers.
        ValueError: when a sample is asked for that has a key or a field ``index`` already.
    """

    dataset: Any

    def __init__(self, dataset: Any) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"dataset is {type(dataset).__name__}, expected a map-style data set: the samples "
                "of others have no numbers"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SupportsIndex) -> Any:
        return _with_index(self.dataset[index], index)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The samples of a mini-batch, by the data set's own ``__getitems__`` where it has one."""
        if callable(getattr(self.dataset, "__getitems__", None)):
            samples = self.dataset.__getitems__(indices)
        else:
            samples = [self.dataset[index] for index in indices]
        return [_with_index(*pair) for pair in zip(samples, indices, strict=True)]

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling ask an object without attributes for special methods.
        if name == "dataset" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Set here, a transform would be read back and never be applied.
        if name == "dataset":
            super().__setattr__(name, value)
        else:
            setattr(self.dataset, name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.dataset)})


def _with_index(sample: Any, index: SupportsIndex) -> Any:
    if isinstance(sample, Mapping):
        if "index" in sample:
            raise ValueError(
                'the samples have a key "index" already: rename it, or do without WithIndex if it '
                "is the sample's number"
            )
        return {**sample, "index": index}
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return _indexed(type(sample))(*sample, index)
    if isinstance(sample, tuple | list):
        return (*sample, index)
    return (sample, index)


@cache
def _indexed(kind: Any) -> Any:
    """The type of a named tuple with one more field, ``index``."""
    if "index" in kind._fields:
        raise ValueError(
            f"the samples, {kind.__name__}, have a field index already: rename it, or do without "
            "WithIndex if it is the sample's number"
        )
    name, fields = kind.__name__, (*kind._fields, "index")
    made: Any = namedtuple(name, fields, rename=True)  # type: ignore[misc]  # a name of its own

    def reduce(values: Any) -> tuple[Any, ...]:
        # No module has this type: a worker process sends the one that it is made from.
        return (_rebuilt, (kind, *values))

    return type(name, (made,), {"__slots__": (), "__reduce__": reduce})


def _rebuilt(kind: Any, *values: Any) -> Any:
    return _indexed(kind)(*values)
